-- no-transaction
DROP INDEX CONCURRENTLY IF EXISTS identity.failures_not_before_idx;
