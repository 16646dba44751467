SET LOCAL row_security = off;

-- Rows come in the order of time, and old ones are deleted: what a BRIN index says of a page stays true of rows that are
-- gone, and the pages that they leave are filled again, until every page may have old ones. A B-tree finds them for ever.
DROP INDEX identity.sessions_issued_at_idx;
DROP INDEX identity.refresh_tokens_expires_at_idx;
DROP INDEX identity.requests_created_at_idx;
DROP INDEX identity.security_audit_log_occurred_at_idx;
CREATE INDEX sessions_issued_at_idx ON identity.sessions (issued_at);
CREATE INDEX refresh_tokens_expires_at_idx ON identity.refresh_tokens (expires_at);
CREATE INDEX requests_created_at_idx ON identity.requests (created_at);
CREATE INDEX security_audit_log_occurred_at_idx ON identity.security_audit_log (occurred_at);

SET LOCAL row_security = on;
