-- no-transaction
-- oldest_binary: 20261129000600
-- The index before it has the same rows, in the whole order.
DROP INDEX CONCURRENTLY IF EXISTS data.crisis_events_fresh_idx;
