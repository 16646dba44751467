SET LOCAL row_security = off;

DROP FUNCTION identity.sweep(integer);
DROP INDEX identity.requests_created_at_idx;
DROP INDEX identity.refresh_tokens_expires_at_idx;
DROP INDEX identity.sessions_issued_at_idx;
DROP POLICY requests_sweep_delete ON identity.requests;
DROP POLICY requests_sweep_select ON identity.requests;
DROP POLICY refresh_tokens_sweep_delete ON identity.refresh_tokens;
DROP POLICY refresh_tokens_sweep_select ON identity.refresh_tokens;
DROP POLICY sessions_sweep_delete ON identity.sessions;
DROP POLICY sessions_sweep_select ON identity.sessions;
DROP POLICY ended_sessions_sweep_delete ON identity.ended_sessions;
DROP POLICY ended_sessions_sweep_select ON identity.ended_sessions;

SET LOCAL row_security = on;
