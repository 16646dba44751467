SET LOCAL row_security = off;

-- Mutations that were applied, with their answers: a retry of the same request_id gets the same answer.
-- payload_mac tells a retry from a reuse of its id for something else; being keyed, it betrays no content. An
-- answer holds ids and numbers; what was sealed is read from its own row again.
CREATE TABLE data.requests (
    user_id uuid NOT NULL,
    id uuid NOT NULL,
    method text NOT NULL,
    payload_mac bytea NOT NULL,
    answer jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT requests_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT requests_user_id_fkey FOREIGN KEY (user_id) REFERENCES data.users (id) ON DELETE CASCADE,
    CONSTRAINT requests_method_check CHECK (octet_length(method) BETWEEN 1 AND 64),
    CONSTRAINT requests_payload_mac_check CHECK (octet_length(payload_mac) = 32)
);
COMMENT ON TABLE data.requests IS 'Idempotency: each applied request_id with its answer.';

ALTER TABLE data.requests ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

GRANT SELECT, INSERT ON data.requests TO data_user;
CREATE POLICY requests_user_select ON data.requests FOR SELECT TO data_user
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY requests_user_insert ON data.requests FOR INSERT TO data_user
    WITH CHECK (user_id = (SELECT auth.uid()));

SET LOCAL row_security = on;
