-- no-transaction
-- oldest_binary: 20261129000400
-- For the sweep of sessions: a session is dead when it ended or can no longer be refreshed.
CREATE INDEX CONCURRENTLY IF NOT EXISTS sessions_dead_at_idx ON identity.sessions (least(ended_at, refresh_expires_at));
