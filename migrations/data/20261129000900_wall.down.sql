SET LOCAL row_security = off;

DROP TRIGGER crisis_events_acknowledged_at_once ON data.crisis_events;
DROP TRIGGER crisis_events_resolved_at_once ON data.crisis_events;
DROP TRIGGER cycle_data_conflicts_settled_at_once ON data.cycle_data_conflicts;
DROP TRIGGER healthcare_share_revoked_at_once ON data.healthcare_share;
DROP TRIGGER healthcare_share_ended_at_once ON data.healthcare_share;
DROP FUNCTION data.refuse_second_time();

ALTER POLICY analysis_jobs_service_update ON data.analysis_jobs WITH CHECK (true);
ALTER POLICY conversations_service_select ON data.conversations
    USING (EXISTS (
        SELECT FROM data.analysis_jobs AS job
        WHERE job.user_id = conversations.user_id
            AND conversations.number BETWEEN job.first_number AND job.last_number
            AND job.state = 'leased'
            AND job.lease_token = (SELECT data.current_lease())
            AND job.lease_expires_at > now()));
DROP FUNCTION data.current_lease_digest();
DROP TRIGGER analysis_jobs_lease_digest ON data.analysis_jobs;
DROP FUNCTION data.digest_lease_token();
DROP FUNCTION data.stores_lease_tokens();

-- The tokens of leases are not known, so the leases are lost, as when their time passes without a call of the worker.
ALTER TABLE data.analysis_jobs NO FORCE ROW LEVEL SECURITY, DISABLE TRIGGER USER;
UPDATE data.analysis_jobs SET state = 'queued', start_after = now(), lost_leases = lost_leases + 1,
        retry_limit = retry_limit + 1, lease_digest = NULL, lease_token = NULL, lease_holder = NULL, lease_expires_at = NULL
    WHERE state = 'leased' AND lease_token IS NULL;
ALTER TABLE data.analysis_jobs
    ENABLE TRIGGER USER,
    FORCE ROW LEVEL SECURITY,
    DROP CONSTRAINT analysis_jobs_lease_check,
    ADD CONSTRAINT analysis_jobs_lease_check CHECK (
        num_nonnulls(lease_token, lease_holder, lease_expires_at) = CASE state WHEN 'leased' THEN 3 ELSE 0 END),
    DROP COLUMN lease_digest;

SET LOCAL row_security = on;
