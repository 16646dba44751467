-- no-transaction
DROP INDEX CONCURRENTLY IF EXISTS data.healthcare_share_audit_share_idx;
