-- no-transaction
-- oldest_binary: 20261129000600
-- For haven_readonly, which knows a share and not its person.
CREATE INDEX CONCURRENTLY IF NOT EXISTS healthcare_share_audit_share_idx ON data.healthcare_share_audit (share_id, accessed_at, id);
