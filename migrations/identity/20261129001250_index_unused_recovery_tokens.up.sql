-- no-transaction
-- oldest_binary: 20261129000400
-- For the sweep of recovery tokens: without those that were used, which are kept for a week.
CREATE INDEX CONCURRENTLY IF NOT EXISTS recovery_tokens_unused_idx ON identity.recovery_tokens (expires_at) WHERE spent_at IS NULL;
