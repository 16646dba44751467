-- no-transaction
DROP INDEX CONCURRENTLY IF EXISTS identity.rate_limits_tat_idx;
