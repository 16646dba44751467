SET LOCAL row_security = off;

-- The version before this one knows no lock, and would let calls reach the rows of locked people. The owner sees the locked
-- people by a policy.
SET LOCAL row_security = on;
DO $$
BEGIN
    IF EXISTS (SELECT FROM data.users AS u WHERE u.locked_at IS NOT NULL) THEN
        RAISE EXCEPTION 'people are locked, and this version cannot be reverted meanwhile: run identity reconcile, and erase or unlock them';
    END IF;
END
$$;
SET LOCAL row_security = off;

CREATE OR REPLACE FUNCTION data.provision_user(at timestamptz) RETURNS timestamptz
    LANGUAGE plpgsql VOLATILE SECURITY INVOKER SET search_path = ''
    AS $$
DECLARE
    person CONSTANT uuid := auth.uid();
BEGIN
    INSERT INTO data.users (id, created_at) VALUES (person, provision_user.at) ON CONFLICT (id) DO NOTHING;
    IF EXISTS (SELECT FROM data.tombstones AS t WHERE t.user_id = person) THEN
        RAISE unique_violation USING MESSAGE = 'the person was erased', CONSTRAINT = 'tombstones_pkey';
    END IF;
    RETURN (SELECT u.created_at FROM data.users AS u WHERE u.id = person);
END
$$;
COMMENT ON FUNCTION data.provision_user(timestamptz) IS
    'Makes the transaction''s person known, and answers since when they are.';

DROP POLICY share_token_find ON data.share_token;
CREATE POLICY share_token_find ON data.share_token FOR SELECT TO data_owner
    USING (token_hash = (SELECT decode(nullif(current_setting('data.wanted_share_token', true), ''), 'hex')));
DROP POLICY users_locked_select ON data.users;
DROP POLICY analysis_jobs_unlocked_update ON data.analysis_jobs;
DROP POLICY analysis_jobs_unlocked_select ON data.analysis_jobs;

DO $$
DECLARE
    gate record;
BEGIN
    FOR gate IN
        SELECT p.polname, c.relname
        FROM pg_catalog.pg_policy AS p
            JOIN pg_catalog.pg_class AS c ON c.oid = p.polrelid
            JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = 'data' AND NOT p.polpermissive AND p.polname LIKE '%\_admit\_%'
    LOOP
        EXECUTE format('DROP POLICY %I ON data.%I', gate.polname, gate.relname);
    END LOOP;
END
$$;
DROP FUNCTION data.admit_person();

-- A view cannot lose a column.
DROP VIEW data.user_metadata;
CREATE VIEW data.user_metadata WITH (security_invoker = true) AS
    SELECT id, created_at, last_active_at FROM data.users;
GRANT SELECT ON data.user_metadata TO haven_readonly;
DROP POLICY users_service_update ON data.users;
DROP POLICY tombstones_service_select ON data.tombstones;
CREATE POLICY tombstones_service_select ON data.tombstones FOR SELECT TO data_service
    USING (user_id = (SELECT auth.uid()));
DROP POLICY users_service_select ON data.users;
CREATE POLICY users_service_select ON data.users FOR SELECT TO data_service
    USING (id = (SELECT auth.uid()));
ALTER TABLE data.users DROP COLUMN locked_at;

SET LOCAL row_security = on;
