-- no-transaction
DROP INDEX CONCURRENTLY IF EXISTS data.crisis_events_unnumbered_idx;
