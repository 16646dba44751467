-- no-transaction
-- oldest_binary: 20261129000400
-- For the check of audit chains, which passes over people with an erasure that has not ended.
CREATE INDEX CONCURRENTLY IF NOT EXISTS erasures_has_rows_idx ON identity.erasures (user_id) WHERE has_rows;
