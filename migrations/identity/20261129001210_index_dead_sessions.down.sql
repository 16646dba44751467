-- no-transaction
DROP INDEX CONCURRENTLY IF EXISTS identity.sessions_dead_at_idx;
