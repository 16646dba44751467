-- no-transaction
-- oldest_binary: 20261129000400
-- The sweep of sessions used the index. It had every session that was begun long ago, dead or not.
DROP INDEX CONCURRENTLY IF EXISTS identity.sessions_issued_at_idx;
