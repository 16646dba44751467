SET LOCAL row_security = off;

DROP INDEX identity.sessions_issued_at_idx;
DROP INDEX identity.refresh_tokens_expires_at_idx;
DROP INDEX identity.requests_created_at_idx;
DROP INDEX identity.security_audit_log_occurred_at_idx;
CREATE INDEX sessions_issued_at_idx ON identity.sessions USING brin (issued_at);
CREATE INDEX refresh_tokens_expires_at_idx ON identity.refresh_tokens USING brin (expires_at);
CREATE INDEX requests_created_at_idx ON identity.requests USING brin (created_at);
CREATE INDEX security_audit_log_occurred_at_idx ON identity.security_audit_log USING brin (occurred_at);

SET LOCAL row_security = on;
