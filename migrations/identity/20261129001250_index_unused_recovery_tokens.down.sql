-- no-transaction
DROP INDEX CONCURRENTLY IF EXISTS identity.recovery_tokens_unused_idx;
