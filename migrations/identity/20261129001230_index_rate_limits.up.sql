-- no-transaction
-- oldest_binary: 20261129000400
-- For the sweep of rate limits.
CREATE INDEX CONCURRENTLY IF NOT EXISTS rate_limits_tat_idx ON identity.rate_limits (tat);
