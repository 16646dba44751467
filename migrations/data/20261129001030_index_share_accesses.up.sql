-- no-transaction
-- oldest_binary: 20261129000600
-- For haven_readonly, which reads the newest attempts to open shares, of all people.
CREATE INDEX CONCURRENTLY IF NOT EXISTS healthcare_share_audit_all_idx ON data.healthcare_share_audit (accessed_at, id);
