-- oldest_binary: 20261129000600
SET LOCAL row_security = off;

-- A lease that ends without a call of its worker says that the worker died, and not that the job failed. Such a lease counts
-- in lost_leases, and raises retry_limit by one, so that it costs none of the attempts. A job that dies of lost leases
-- therefore has attempts left, and every other dead job has none: that is the cause of a death.
--
-- extended_attempt is a number of an attempt and not a flag, because an earlier program, which knows neither column, would not
-- reset a flag when it leases the job.
ALTER TABLE data.analysis_jobs
    ADD COLUMN lost_leases smallint NOT NULL DEFAULT 0,
    ADD COLUMN extended_attempt smallint,
    ADD CONSTRAINT analysis_jobs_lost_leases_check CHECK (lost_leases BETWEEN 0 AND attempts),
    ADD CONSTRAINT analysis_jobs_extended_attempt_check CHECK (extended_attempt BETWEEN 1 AND attempts);
COMMENT ON COLUMN data.analysis_jobs.lost_leases IS
    'The number of leases that ended without a call of their worker, since the job was created or requeued.';
COMMENT ON COLUMN data.analysis_jobs.extended_attempt IS
    'The last attempt with a lease that its worker extended, or NULL.';

-- As before, and a new job has lost no lease.
ALTER POLICY analysis_jobs_user_insert ON data.analysis_jobs
    WITH CHECK (user_id = (SELECT auth.uid()) AND state = 'queued' AND attempts = 0 AND retry_limit = 3
        AND lost_leases = 0 AND extended_attempt IS NULL
        AND priority = requested::int AND start_after BETWEEN now() - interval '1 hour' AND now());
GRANT UPDATE (lost_leases, extended_attempt) ON data.analysis_jobs TO data_service;

GRANT SELECT (lost_leases, extended_attempt) ON data.analysis_jobs TO haven_readonly;
CREATE OR REPLACE VIEW data.analysis_job_metadata WITH (security_invoker = true) AS
    SELECT user_id, id, requested, state, priority, attempts, retry_limit, start_after, lease_holder, lease_expires_at,
        last_error, created_at, finished_at, lost_leases, extended_attempt
    FROM data.analysis_jobs;

SET LOCAL row_security = on;
