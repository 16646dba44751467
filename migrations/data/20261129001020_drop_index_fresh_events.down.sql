-- no-transaction
CREATE INDEX CONCURRENTLY IF NOT EXISTS crisis_events_fresh_idx ON data.crisis_events (created_at) WHERE number IS NULL;
