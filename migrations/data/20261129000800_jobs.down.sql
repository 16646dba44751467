SET LOCAL row_security = off;

DROP VIEW data.analysis_job_metadata;
CREATE VIEW data.analysis_job_metadata WITH (security_invoker = true) AS
    SELECT user_id, id, requested, state, priority, attempts, retry_limit, start_after, lease_holder, lease_expires_at,
        last_error, created_at, finished_at
    FROM data.analysis_jobs;
GRANT SELECT ON data.analysis_job_metadata TO haven_readonly;

ALTER POLICY analysis_jobs_user_insert ON data.analysis_jobs
    WITH CHECK (user_id = (SELECT auth.uid()) AND state = 'queued' AND attempts = 0 AND retry_limit = 3
        AND priority = requested::int AND start_after BETWEEN now() - interval '1 hour' AND now());
ALTER TABLE data.analysis_jobs
    DROP CONSTRAINT analysis_jobs_extended_attempt_check,
    DROP CONSTRAINT analysis_jobs_lost_leases_check,
    DROP COLUMN extended_attempt,
    DROP COLUMN lost_leases;

SET LOCAL row_security = on;
