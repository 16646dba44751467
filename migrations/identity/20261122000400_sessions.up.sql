SET LOCAL row_security = off;

-- A sign-in. The access token itself is stored nowhere; expires_at is when it stops being accepted.
-- No updated_at or version: nothing changes a session yet.
CREATE TABLE identity.sessions (
    user_id uuid NOT NULL,
    id uuid NOT NULL,
    issued_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT sessions_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES identity.users (id) ON DELETE CASCADE,
    CONSTRAINT sessions_expires_at_check CHECK (expires_at > issued_at)
);
COMMENT ON TABLE identity.sessions IS 'Sign-ins; a token names one in its session_id.';

ALTER TABLE identity.sessions ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

-- Once the password is right, the person is the caller: a session is inserted as that person, not as anybody.
GRANT SELECT, INSERT ON identity.sessions TO identity_user;
CREATE POLICY sessions_user_select ON identity.sessions FOR SELECT TO identity_user
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY sessions_user_insert ON identity.sessions FOR INSERT TO identity_user
    WITH CHECK (user_id = (SELECT auth.uid()));

SET LOCAL row_security = on;
