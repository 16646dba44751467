-- no-transaction
CREATE INDEX CONCURRENTLY IF NOT EXISTS sessions_issued_at_idx ON identity.sessions (issued_at);
