SET LOCAL row_security = off;

-- As the migration before leaves them: a constraint that was validated has to be made again.
DO $$
DECLARE
    name text;
    definition text;
BEGIN
    FOR name, definition IN
        SELECT c.conname, pg_get_constraintdef(c.oid) FROM pg_constraint AS c
        WHERE c.conrelid = 'data.analysis_jobs'::regclass
            AND c.conname IN ('analysis_jobs_lease_check', 'analysis_jobs_lease_digest_check')
    LOOP
        EXECUTE format('ALTER TABLE data.analysis_jobs DROP CONSTRAINT %I, ADD CONSTRAINT %I %s NOT VALID', name, name, definition);
    END LOOP;
END
$$;

SET LOCAL row_security = on;
