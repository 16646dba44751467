SET LOCAL row_security = off;

DROP FUNCTION data.complete_jobs_1(
    uuid[], uuid[], bytea[], smallint[], uuid[], bytea[], text[], smallint[], text[], text[], text[], timestamptz
);
DROP FUNCTION data.lease_jobs_1(
    uuid, uuid[], integer, text, double precision, smallint[], double precision[], double precision[], bigint, bigint
);
ALTER POLICY analysis_results_service_insert ON data.analysis_results
    WITH CHECK (user_id = (SELECT auth.uid()) AND EXISTS (
        SELECT FROM data.analysis_jobs AS job
        WHERE job.user_id = analysis_results.user_id AND job.id = analysis_results.id
            AND job.first_number = analysis_results.first_number AND job.last_number = analysis_results.last_number
            AND job.state = 'leased' AND job.lease_expires_at > now()));
CREATE OR REPLACE FUNCTION data.current_lease_digest() RETURNS bytea
    LANGUAGE sql STABLE SECURITY INVOKER SET search_path = ''
    RETURN sha256(uuid_send(data.current_lease()));
CREATE OR REPLACE FUNCTION data.current_lease() RETURNS uuid
    LANGUAGE sql STABLE SECURITY INVOKER SET search_path = ''
    RETURN (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'lease')::uuid;

SET LOCAL row_security = on;
