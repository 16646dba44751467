-- no-transaction
-- oldest_binary: 20261129000600
-- For the calls of a worker, which find a job by the digest of its lease's token.
CREATE INDEX CONCURRENTLY IF NOT EXISTS analysis_jobs_lease_digest_idx ON data.analysis_jobs (lease_digest) WHERE state = 'leased';
