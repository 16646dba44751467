-- no-transaction
-- oldest_binary: 20261129000600
-- For data.number_crisis_events: the events without a number, in the order in which they get one.
CREATE INDEX CONCURRENTLY IF NOT EXISTS crisis_events_unnumbered_idx ON data.crisis_events (created_at, user_id, id) WHERE number IS NULL;
