-- no-transaction
DROP INDEX CONCURRENTLY IF EXISTS data.analysis_jobs_lease_digest_idx;
