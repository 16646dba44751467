SET LOCAL row_security = off;

DROP FUNCTION identity.end_sessions(uuid, uuid, text, timestamptz);
DROP TABLE identity.ended_sessions;
DROP FUNCTION identity.find_refresh_token(bytea);
DROP TABLE identity.refresh_tokens;
DROP POLICY sessions_own_update ON identity.sessions;
DROP POLICY sessions_own_select ON identity.sessions;
DROP POLICY sessions_user_update ON identity.sessions;
REVOKE UPDATE (expires_at, refreshed_at, refresh_expires_at) ON identity.sessions FROM identity_user;
ALTER TABLE identity.sessions
    DROP CONSTRAINT sessions_end_reason_check,
    DROP CONSTRAINT sessions_ended_at_check,
    DROP CONSTRAINT sessions_refresh_expires_at_check,
    DROP CONSTRAINT sessions_refreshed_at_check,
    DROP COLUMN end_reason,
    DROP COLUMN ended_at,
    DROP COLUMN refresh_expires_at,
    DROP COLUMN refreshed_at;

SET LOCAL row_security = on;
