SET LOCAL row_security = off;

DROP FUNCTION data.people_to_purge(integer, uuid[]);
CREATE OR REPLACE FUNCTION data.erase_user(at timestamptz) RETURNS TABLE (erased_at timestamptz, erased jsonb)
    LANGUAGE plpgsql VOLATILE ROWS 1 SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    person CONSTANT uuid := auth.uid();
    relation record;
    known bigint;
    found_rows bigint;
    counts jsonb;
BEGIN
    IF person IS NULL THEN
        RAISE insufficient_privilege USING MESSAGE = 'nobody is to be erased';
    END IF;
    INSERT INTO data.users (id, created_at) VALUES (person, erase_user.at) ON CONFLICT (id) DO NOTHING;
    GET DIAGNOSTICS found_rows = ROW_COUNT;
    known := 1 - found_rows;
    PERFORM FROM data.users AS u WHERE u.id = person FOR UPDATE;
    IF EXISTS (SELECT FROM data.tombstones AS t WHERE t.user_id = person) THEN
        DELETE FROM data.users AS u WHERE u.id = person;
    ELSE
        counts := jsonb_build_object('data.users', known);
        FOR relation IN
            SELECT format('%I.%I', n.nspname, c.relname) AS name
            FROM pg_catalog.pg_class AS c
                JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
                JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'user_id'
            WHERE n.nspname = 'data' AND c.relkind IN ('r', 'p') AND NOT c.relispartition
                AND c.relname <> 'tombstones'
        LOOP
            EXECUTE format('SELECT count(*) FROM %s WHERE user_id = $1', relation.name)
                INTO found_rows USING person;
            counts := counts || jsonb_build_object(relation.name, found_rows);
        END LOOP;
        DELETE FROM data.users AS u WHERE u.id = person;
        INSERT INTO data.tombstones (user_id, erased_at, erased) VALUES (person, erase_user.at, counts);
    END IF;
    RETURN QUERY SELECT t.erased_at, t.erased FROM data.tombstones AS t WHERE t.user_id = person;
END
$$;
DROP FUNCTION data.erase_batch(integer);
DROP FUNCTION data.person_tables();
DROP TABLE data.erasures;
DROP POLICY cycle_data_conflicts_sweep_select ON data.cycle_data_conflicts;
DROP POLICY encrypted_cycle_data_sweep_select ON data.encrypted_cycle_data;
DROP POLICY healthcare_share_audit_erase_delete ON data.healthcare_share_audit;
DROP POLICY share_token_erase_delete ON data.share_token;
DROP POLICY healthcare_share_erase_delete ON data.healthcare_share;
DROP POLICY purged_records_erase_delete ON data.purged_records;
DROP POLICY encrypted_user_prefs_erase_delete ON data.encrypted_user_prefs;
DROP POLICY envelope_nonces_erase_delete ON data.envelope_nonces;
DROP POLICY security_audit_log_erase_delete ON data.security_audit_log;
DROP POLICY device_key_erase_delete ON data.device_key;
DROP POLICY requests_erase_delete ON data.requests;
DROP POLICY crisis_events_erase_delete ON data.crisis_events;
DROP POLICY analysis_results_erase_delete ON data.analysis_results;
DROP POLICY analysis_jobs_erase_delete ON data.analysis_jobs;
DROP POLICY conversations_erase_delete ON data.conversations;
DROP POLICY conversation_counters_erase_lock ON data.conversation_counters;

SET LOCAL row_security = on;
