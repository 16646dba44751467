SET LOCAL row_security = off;

-- A session lives for as long as it is refreshed. expires_at stays what it was: when its newest access token stops
-- being accepted.
ALTER TABLE identity.sessions
    ADD COLUMN refreshed_at timestamptz,
    -- When it ends unless it is refreshed. A session from before refresh tokens ends with its access token; its rows
    -- are the owner's for this one statement.
    ADD COLUMN refresh_expires_at timestamptz,
    ADD COLUMN ended_at timestamptz,
    ADD COLUMN end_reason text,
    NO FORCE ROW LEVEL SECURITY;
UPDATE identity.sessions SET refresh_expires_at = expires_at;
ALTER TABLE identity.sessions
    FORCE ROW LEVEL SECURITY,
    ALTER COLUMN refresh_expires_at SET NOT NULL,
    ADD CONSTRAINT sessions_refreshed_at_check CHECK (refreshed_at >= issued_at),
    ADD CONSTRAINT sessions_refresh_expires_at_check CHECK (refresh_expires_at > issued_at),
    ADD CONSTRAINT sessions_ended_at_check CHECK ((ended_at IS NULL) = (end_reason IS NULL)),
    ADD CONSTRAINT sessions_end_reason_check CHECK (
        end_reason IN ('signed_out', 'revoked', 'password_changed', 'token_reused', 'account_deleted')
    );

-- When it was refreshed. That it has ended is said by identity.end_sessions alone, and never taken back.
GRANT UPDATE (expires_at, refreshed_at, refresh_expires_at) ON identity.sessions TO identity_user;
CREATE POLICY sessions_user_update ON identity.sessions FOR UPDATE TO identity_user
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));

-- The tokens of a session's family: each is used once, and its use makes the next. Used ones are kept until they
-- would have expired, so that one which comes back is known for a copy. No updated_at or version: used_at is the one
-- thing that changes, once.
CREATE TABLE identity.refresh_tokens (
    user_id uuid NOT NULL,
    id uuid NOT NULL,
    session_id uuid NOT NULL,
    -- A keyed hash of 256 random bits.
    token_hash bytea NOT NULL,
    issued_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    CONSTRAINT refresh_tokens_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT refresh_tokens_session_id_fkey
        FOREIGN KEY (user_id, session_id) REFERENCES identity.sessions (user_id, id) ON DELETE CASCADE,
    CONSTRAINT refresh_tokens_token_hash_key UNIQUE (token_hash),
    CONSTRAINT refresh_tokens_token_hash_check CHECK (octet_length(token_hash) = 32),
    CONSTRAINT refresh_tokens_expires_at_check CHECK (expires_at > issued_at),
    CONSTRAINT refresh_tokens_used_at_check CHECK (used_at >= issued_at)
);
COMMENT ON TABLE identity.refresh_tokens IS 'Refresh tokens: keyed hashes of them.';
CREATE INDEX refresh_tokens_session_id_idx ON identity.refresh_tokens (user_id, session_id);

ALTER TABLE identity.refresh_tokens ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

GRANT SELECT (user_id, id, session_id, issued_at, expires_at, used_at), INSERT, UPDATE (used_at)
    ON identity.refresh_tokens TO identity_user;
CREATE POLICY refresh_tokens_user_select ON identity.refresh_tokens FOR SELECT TO identity_user
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY refresh_tokens_user_insert ON identity.refresh_tokens FOR INSERT TO identity_user
    WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY refresh_tokens_user_update ON identity.refresh_tokens FOR UPDATE TO identity_user
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));

-- Whoever refreshes has no person yet: whose token it is, is the one question that this answers, as find_credential
-- does. It shows the row that it has named, and no other.
CREATE POLICY refresh_tokens_find ON identity.refresh_tokens FOR SELECT TO identity_owner
    USING (token_hash = (SELECT decode(nullif(current_setting('identity.wanted_token', true), ''), 'hex')));
CREATE FUNCTION identity.find_refresh_token(token_hash bytea)
    RETURNS TABLE (user_id uuid, session_id uuid, id uuid)
    LANGUAGE plpgsql VOLATILE STRICT ROWS 1 SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    PERFORM set_config('identity.wanted_token', encode(find_refresh_token.token_hash, 'hex'), true);
    RETURN QUERY
        SELECT t.user_id, t.session_id, t.id FROM identity.refresh_tokens t
        WHERE t.token_hash = find_refresh_token.token_hash;
    PERFORM set_config('identity.wanted_token', '', true);
END
$$;
COMMENT ON FUNCTION identity.find_refresh_token(bytea) IS
    'Whose refresh token has this hash, and in which session: at most one row.';
GRANT EXECUTE ON FUNCTION identity.find_refresh_token(bytea) TO identity_anon;

-- Sessions that ended before their newest access token expired: whoever verifies tokens refuses these. Nothing in it
-- says whose they were, so an erased person's stay for as long as their tokens live.
CREATE TABLE identity.ended_sessions (
    id uuid NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT ended_sessions_pkey PRIMARY KEY (id)
);
COMMENT ON TABLE identity.ended_sessions IS 'Ended sessions whose access tokens may not have expired yet.';

ALTER TABLE identity.ended_sessions ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

GRANT SELECT ON identity.ended_sessions TO identity_service;
CREATE POLICY ended_sessions_read_by_service ON identity.ended_sessions FOR SELECT TO identity_service USING (true);

-- Ending a session, and making it known as ended, in one: neither can happen alone.
CREATE POLICY sessions_own_select ON identity.sessions FOR SELECT TO identity_owner
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY sessions_own_update ON identity.sessions FOR UPDATE TO identity_owner
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY ended_sessions_owner_insert ON identity.ended_sessions FOR INSERT TO identity_owner WITH CHECK (true);
CREATE FUNCTION identity.end_sessions(chosen uuid, spared uuid, reason text, at timestamptz)
    RETURNS TABLE (session_id uuid)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    RETURN QUERY
        WITH ended AS (
            UPDATE identity.sessions AS s SET ended_at = end_sessions.at, end_reason = end_sessions.reason
            WHERE s.user_id = auth.uid() AND s.ended_at IS NULL
                AND (end_sessions.chosen IS NULL OR s.id = end_sessions.chosen)
                AND (end_sessions.spared IS NULL OR s.id <> end_sessions.spared)
            RETURNING s.id, s.expires_at
        ), made_known AS (
            INSERT INTO identity.ended_sessions (id, expires_at) SELECT e.id, e.expires_at FROM ended AS e
        )
        SELECT e.id FROM ended AS e;
END
$$;
COMMENT ON FUNCTION identity.end_sessions(uuid, uuid, text, timestamptz) IS
    'Ends sessions of the transaction''s person: one, or all but the spared one. Answers those that had not ended yet.';
GRANT EXECUTE ON FUNCTION identity.end_sessions(uuid, uuid, text, timestamptz) TO identity_user;

SET LOCAL row_security = on;
