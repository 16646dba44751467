SET LOCAL row_security = off;

-- What data has yet to be told, written in the transaction of the change that it tells of. A delivered row is
-- deleted. last_error is a Reason's name and nothing else, so that an operator may read the table and no text
-- leaks into it.
CREATE TABLE identity.outbox (
    user_id uuid NOT NULL,
    id uuid NOT NULL,
    kind text NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL,
    last_error text,
    created_at timestamptz NOT NULL,
    CONSTRAINT outbox_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT outbox_user_id_fkey FOREIGN KEY (user_id) REFERENCES identity.users (id) ON DELETE CASCADE,
    CONSTRAINT outbox_kind_check CHECK (kind = 'provision_user'),
    CONSTRAINT outbox_attempts_check CHECK (attempts >= 0),
    CONSTRAINT outbox_last_error_check CHECK (last_error ~ '^[A-Z][A-Z_]{0,63}$')
)
-- A queue is empty one moment and long the next; planned as empty, claiming from it is ten times slower. So
-- it is analysed and vacuumed after a number of changes, and not after a share of what it once held.
WITH (
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 100,
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500
);
COMMENT ON TABLE identity.outbox IS 'Messages to the data service that have not been delivered yet.';

-- What is due, for the dispatcher; and the age of the oldest, for the lag that operators watch.
CREATE INDEX outbox_next_attempt_at_idx ON identity.outbox (next_attempt_at);
CREATE INDEX outbox_created_at_idx ON identity.outbox (created_at);

ALTER TABLE identity.outbox ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

GRANT INSERT ON identity.outbox TO identity_anon;
CREATE POLICY outbox_anon_insert ON identity.outbox FOR INSERT TO identity_anon
    WITH CHECK (user_id = (SELECT auth.uid()));

-- The dispatcher works for everybody: these are the only rows in Haven that a service reads without a person.
-- It may postpone a message and drop it, and can turn it into no other message.
GRANT SELECT, DELETE ON identity.outbox TO identity_service;
GRANT UPDATE (attempts, next_attempt_at, last_error) ON identity.outbox TO identity_service;
CREATE POLICY outbox_service_select ON identity.outbox FOR SELECT TO identity_service USING (true);
CREATE POLICY outbox_service_update ON identity.outbox FOR UPDATE TO identity_service
    USING (true) WITH CHECK (true);
CREATE POLICY outbox_service_delete ON identity.outbox FOR DELETE TO identity_service USING (true);

GRANT SELECT (user_id, id, kind, attempts, next_attempt_at, last_error, created_at)
    ON identity.outbox TO haven_readonly;
CREATE POLICY outbox_readonly_select ON identity.outbox FOR SELECT TO haven_readonly USING (true);
CREATE VIEW identity.outbox_metadata WITH (security_invoker = true) AS
    SELECT user_id, id, kind, attempts, next_attempt_at, last_error, created_at FROM identity.outbox;
GRANT SELECT ON identity.outbox_metadata TO haven_readonly;

SET LOCAL row_security = on;
