SET LOCAL row_security = off;

-- Messages in which somebody may be in danger, as far as a detector can tell: stored with the message, and kept when
-- the message is deleted, because somebody may still have to follow it up. number is the event's place in the feed
-- that services watch; see below.
CREATE TABLE data.crisis_events (
    user_id uuid NOT NULL,
    id uuid NOT NULL,
    message_id uuid,
    trigger_type text NOT NULL,
    severity_level text NOT NULL,
    resources_shown text[] NOT NULL,
    followup_required boolean NOT NULL,
    created_at timestamptz NOT NULL,
    acknowledged_at timestamptz,
    resolved_at timestamptz,
    number bigint,
    CONSTRAINT crisis_events_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT crisis_events_user_id_fkey FOREIGN KEY (user_id) REFERENCES data.users (id) ON DELETE CASCADE,
    CONSTRAINT crisis_events_message_id_fkey FOREIGN KEY (user_id, message_id)
        REFERENCES data.conversations (user_id, id) ON DELETE SET NULL (message_id),
    CONSTRAINT crisis_events_trigger_type_check CHECK (
        trigger_type IN ('suicide', 'self_harm', 'abuse', 'violence')),
    CONSTRAINT crisis_events_severity_level_check CHECK (severity_level IN ('low', 'moderate', 'high', 'critical')),
    CONSTRAINT crisis_events_resources_shown_check CHECK (cardinality(resources_shown) <= 16),
    CONSTRAINT crisis_events_number_check CHECK (number >= 1)
);
COMMENT ON TABLE data.crisis_events IS 'Messages in which somebody may be in danger, and what was done about it.';

-- In the order in which a person sees them; for the message's deletion; in the order of the feed; and what is not
-- in the feed yet.
CREATE INDEX crisis_events_created_at_idx ON data.crisis_events (user_id, created_at, id);
CREATE INDEX crisis_events_message_id_idx ON data.crisis_events (user_id, message_id);
CREATE UNIQUE INDEX crisis_events_number_key ON data.crisis_events (number);
CREATE INDEX crisis_events_fresh_idx ON data.crisis_events (created_at) WHERE number IS NULL;

ALTER TABLE data.crisis_events ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

GRANT SELECT (user_id, id, message_id, trigger_type, severity_level, resources_shown, followup_required, created_at,
    acknowledged_at, resolved_at), INSERT, UPDATE (acknowledged_at) ON data.crisis_events TO data_user;
CREATE POLICY crisis_events_user_select ON data.crisis_events FOR SELECT TO data_user
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY crisis_events_user_insert ON data.crisis_events FOR INSERT TO data_user
    WITH CHECK (user_id = (SELECT auth.uid()) AND num_nonnulls(number, acknowledged_at, resolved_at) = 0);
CREATE POLICY crisis_events_user_update ON data.crisis_events FOR UPDATE TO data_user
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));
-- Services watch over everybody. No text is in here.
GRANT SELECT, UPDATE (number, resolved_at) ON data.crisis_events TO data_service;
CREATE POLICY crisis_events_service_select ON data.crisis_events FOR SELECT TO data_service USING (true);
CREATE POLICY crisis_events_service_update ON data.crisis_events FOR UPDATE TO data_service
    USING (true) WITH CHECK (true);
CREATE POLICY crisis_events_erase ON data.crisis_events FOR SELECT TO data_owner USING (user_id = (SELECT auth.uid()));

-- The last number that was given out: one row. Events of different people are committed in any order, so a number
-- that they took as they were stored could become visible after a greater one, and a watcher that had gone past
-- would miss it. So they are numbered after they are committed, by whoever reads the feed, one at a time. A message
-- never waits for that.
CREATE TABLE data.crisis_feed (
    is_feed boolean NOT NULL DEFAULT true,
    last_number bigint NOT NULL,
    CONSTRAINT crisis_feed_pkey PRIMARY KEY (is_feed),
    CONSTRAINT crisis_feed_is_feed_check CHECK (is_feed),
    CONSTRAINT crisis_feed_last_number_check CHECK (last_number >= 0)
);
COMMENT ON TABLE data.crisis_feed IS 'The last number of the feed of crisis events.';
INSERT INTO data.crisis_feed (last_number) VALUES (0);

ALTER TABLE data.crisis_feed ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

GRANT SELECT, UPDATE (last_number) ON data.crisis_feed TO data_service;
CREATE POLICY crisis_feed_service_select ON data.crisis_feed FOR SELECT TO data_service USING (true);
CREATE POLICY crisis_feed_service_update ON data.crisis_feed FOR UPDATE TO data_service USING (true) WITH CHECK (true);

CREATE FUNCTION data.number_crisis_events(batch integer) RETURNS bigint
    LANGUAGE plpgsql VOLATILE STRICT SECURITY INVOKER SET search_path = ''
    AS $$
DECLARE
    last bigint;
    numbered bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM data.crisis_events AS e WHERE e.number IS NULL) THEN
        RETURN (SELECT f.last_number FROM data.crisis_feed AS f);
    END IF;
    -- Until the end of the transaction nobody else numbers, so numbers become visible in their order.
    SELECT f.last_number INTO STRICT last FROM data.crisis_feed AS f FOR UPDATE;
    -- Locked before they are numbered: an event that is erased meanwhile would take its number with it, and the last one
    -- would be given out twice. What somebody else has locked gets its number next time: nobody who numbers waits for
    -- an erasure.
    WITH fresh AS (
        SELECT o.user_id, o.id, o.created_at
            FROM data.crisis_events AS o WHERE o.number IS NULL
            ORDER BY o.created_at, o.user_id, o.id
            LIMIT number_crisis_events.batch
            FOR UPDATE SKIP LOCKED
    ), placed AS (
        SELECT f.user_id, f.id, row_number() OVER (ORDER BY f.created_at, f.user_id, f.id) AS place FROM fresh AS f
    )
    UPDATE data.crisis_events AS e SET number = last + placed.place
        FROM placed
        WHERE e.user_id = placed.user_id AND e.id = placed.id;
    GET DIAGNOSTICS numbered = ROW_COUNT;
    IF numbered > 0 THEN
        UPDATE data.crisis_feed AS f SET last_number = last + numbered;
    END IF;
    RETURN last + numbered;
END
$$;
COMMENT ON FUNCTION data.number_crisis_events(integer) IS
    'Puts so many new events at most at the end of the feed. Answers its last number.';
GRANT EXECUTE ON FUNCTION data.number_crisis_events(integer) TO data_service;

SET LOCAL row_security = on;
