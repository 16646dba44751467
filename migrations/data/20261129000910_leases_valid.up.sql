-- oldest_binary: 20261129000600
SET LOCAL row_security = off;

-- In a transaction of its own: it reads the whole table, and changes of rows go on meanwhile.
ALTER TABLE data.analysis_jobs VALIDATE CONSTRAINT analysis_jobs_lease_check;
ALTER TABLE data.analysis_jobs VALIDATE CONSTRAINT analysis_jobs_lease_digest_check;

SET LOCAL row_security = on;
