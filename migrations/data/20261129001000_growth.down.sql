SET LOCAL row_security = off;

CREATE OR REPLACE FUNCTION data.number_crisis_events(batch integer) RETURNS bigint
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

ALTER FUNCTION data.healthcare_access_audit(uuid, timestamptz, uuid, integer) RESET plan_cache_mode;

SET LOCAL row_security = on;
