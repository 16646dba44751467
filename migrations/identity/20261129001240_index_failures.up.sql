-- no-transaction
-- oldest_binary: 20261129000400
-- For the sweep of failures.
CREATE INDEX CONCURRENTLY IF NOT EXISTS failures_not_before_idx ON identity.failures (not_before);
