-- oldest_binary: 20261129000100
SET LOCAL row_security = off;

-- A locked person: reconciliation found rows here without an account in identity, for example after identity alone was
-- restored to an older time. The rows are kept, and no call reaches them, until the account appears, an operator unlocks
-- the person, or the person is erased.
ALTER TABLE data.users ADD COLUMN locked_at timestamptz;
COMMENT ON COLUMN data.users.locked_at IS 'The time since when no call reaches the rows of the person; NULL: not locked.';
CREATE INDEX users_locked_idx ON data.users (id) WHERE locked_at IS NOT NULL;

-- Reconciliation compares all people: the service lists their ids and times, and the tombstones of those who were erased.
-- Neither table has anything else.
DROP POLICY users_service_select ON data.users;
CREATE POLICY users_service_select ON data.users FOR SELECT TO data_service USING (true);
DROP POLICY tombstones_service_select ON data.tombstones;
CREATE POLICY tombstones_service_select ON data.tombstones FOR SELECT TO data_service USING (true);
GRANT UPDATE (locked_at) ON data.users TO data_service;
CREATE POLICY users_service_update ON data.users FOR UPDATE TO data_service
    USING (id = (SELECT auth.uid())) WITH CHECK (id = (SELECT auth.uid()));
GRANT SELECT (locked_at) ON data.users TO haven_readonly;
CREATE OR REPLACE VIEW data.user_metadata WITH (security_invoker = true) AS
    SELECT id, created_at, last_active_at, locked_at FROM data.users;

-- The gate. A restrictive policy of each table below asks it once for each statement of a person, before the first row that
-- the statement would read or write. The statement fails when the person is locked. A policy that only hid rows would answer
-- that there are none, although they are kept. It runs as the owner, because data.users asks it too. Only the change of a
-- sealing key passes: a row that it left out would be lost with the old key. The planner takes IS NOT NULL for true, and a
-- boolean for true in half of the cases; then it would expect too few rows, and choose other plans.
CREATE FUNCTION data.admit_person() RETURNS boolean
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    IF current_setting('data.changes_seals', true) IS DISTINCT FROM 'yes'
        AND EXISTS (SELECT FROM data.users AS u WHERE u.id = auth.uid() AND u.locked_at IS NOT NULL)
    THEN
        RAISE EXCEPTION USING ERRCODE = 'UL001', MESSAGE = 'the person is locked';
    END IF;
    RETURN true;
END
$$;
COMMENT ON FUNCTION data.admit_person() IS 'Fails with UL001 when the transaction''s person is locked. Returns true otherwise.';
GRANT EXECUTE ON FUNCTION data.admit_person() TO data_user, data_service;

DO $$
DECLARE
    relation text;
BEGIN
    FOREACH relation IN ARRAY ARRAY[
        'users', 'conversation_counters', 'conversations', 'requests', 'analysis_jobs', 'analysis_results', 'crisis_events',
        'change_counters', 'device_key', 'security_audit_log', 'envelope_nonces', 'encrypted_cycle_data',
        'cycle_data_conflicts', 'encrypted_user_prefs', 'healthcare_share', 'share_token', 'healthcare_share_audit',
        'purged_records'
    ] LOOP
        EXECUTE format('CREATE POLICY %I ON data.%I AS RESTRICTIVE FOR SELECT TO data_user
            USING ((SELECT data.admit_person()) IS NOT NULL)', relation || '_admit_select', relation);
        EXECUTE format('CREATE POLICY %I ON data.%I AS RESTRICTIVE FOR INSERT TO data_user
            WITH CHECK ((SELECT data.admit_person()) IS NOT NULL)', relation || '_admit_insert', relation);
        EXECUTE format('CREATE POLICY %I ON data.%I AS RESTRICTIVE FOR UPDATE TO data_user
            USING ((SELECT data.admit_person()) IS NOT NULL) WITH CHECK ((SELECT data.admit_person()) IS NOT NULL)',
            relation || '_admit_update', relation);
        EXECUTE format('CREATE POLICY %I ON data.%I AS RESTRICTIVE FOR DELETE TO data_user
            USING ((SELECT data.admit_person()) IS NOT NULL)', relation || '_admit_delete', relation);
    END LOOP;
END
$$;

-- A service that appends messages of the coach and the system does so for one person.
CREATE POLICY conversations_admit_by_service ON data.conversations AS RESTRICTIVE FOR INSERT TO data_service
    WITH CHECK ((SELECT data.admit_person()) IS NOT NULL);
CREATE POLICY conversation_counters_admit_by_service ON data.conversation_counters AS RESTRICTIVE FOR SELECT TO data_service
    USING ((SELECT data.admit_person()) IS NOT NULL);
CREATE POLICY conversation_counters_admit_insert_by_service ON data.conversation_counters AS RESTRICTIVE FOR INSERT
    TO data_service WITH CHECK ((SELECT data.admit_person()) IS NOT NULL);
CREATE POLICY conversation_counters_admit_update_by_service ON data.conversation_counters AS RESTRICTIVE FOR UPDATE
    TO data_service USING ((SELECT data.admit_person()) IS NOT NULL) WITH CHECK ((SELECT data.admit_person()) IS NOT NULL);

-- Workers: the jobs of locked people are not leased, and a lease that began before shows no message and takes no result,
-- because both are found through the job.
CREATE POLICY analysis_jobs_unlocked_select ON data.analysis_jobs AS RESTRICTIVE FOR SELECT TO data_service
    USING (NOT EXISTS (SELECT FROM data.users AS u WHERE u.id = analysis_jobs.user_id AND u.locked_at IS NOT NULL));
CREATE POLICY analysis_jobs_unlocked_update ON data.analysis_jobs AS RESTRICTIVE FOR UPDATE TO data_service
    USING (NOT EXISTS (SELECT FROM data.users AS u WHERE u.id = analysis_jobs.user_id AND u.locked_at IS NOT NULL)) WITH CHECK (true);

-- Shares: the token of a locked person's share is found as little as one that never was. The owner looks for a token in a
-- transaction without a person, and sees then which people are locked.
CREATE POLICY users_locked_select ON data.users FOR SELECT TO data_owner
    USING ((SELECT auth.uid()) IS NULL AND locked_at IS NOT NULL);
DROP POLICY share_token_find ON data.share_token;
CREATE POLICY share_token_find ON data.share_token FOR SELECT TO data_owner
    USING (token_hash = (SELECT decode(nullif(current_setting('data.wanted_share_token', true), ''), 'hex'))
        AND NOT EXISTS (SELECT FROM data.users AS u WHERE u.id = share_token.user_id AND u.locked_at IS NOT NULL));

-- As before; and the person is unlocked, because identity provisions only people who have an account.
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
    UPDATE data.users AS u SET locked_at = NULL WHERE u.id = person AND u.locked_at IS NOT NULL;
    RETURN (SELECT u.created_at FROM data.users AS u WHERE u.id = person);
END
$$;
COMMENT ON FUNCTION data.provision_user(timestamptz) IS
    'Makes the transaction''s person known and unlocked, and answers since when they are known.';

SET LOCAL row_security = on;
