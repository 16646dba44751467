SET LOCAL row_security = off;

DROP TRIGGER refuse_early ON data.conversations;
DROP TRIGGER refuse_early_update ON data.conversations;
DROP TRIGGER refuse_early ON data.encrypted_cycle_data;
DROP TRIGGER refuse_early_update ON data.encrypted_cycle_data;
DROP TRIGGER refuse_early ON data.cycle_data_conflicts;
DROP TRIGGER refuse_early ON data.healthcare_share;
DROP TRIGGER usage_insert ON data.conversations;
DROP TRIGGER usage_delete ON data.conversations;
DROP TRIGGER usage_update ON data.conversations;
DROP TRIGGER usage_insert ON data.analysis_jobs;
DROP TRIGGER usage_delete ON data.analysis_jobs;
DROP TRIGGER usage_update ON data.analysis_jobs;
DROP TRIGGER usage_insert ON data.analysis_results;
DROP TRIGGER usage_delete ON data.analysis_results;
DROP TRIGGER usage_update ON data.analysis_results;
DROP TRIGGER usage_insert ON data.crisis_events;
DROP TRIGGER usage_delete ON data.crisis_events;
DROP TRIGGER usage_insert ON data.encrypted_cycle_data;
DROP TRIGGER usage_delete ON data.encrypted_cycle_data;
DROP TRIGGER usage_update ON data.encrypted_cycle_data;
DROP TRIGGER usage_insert ON data.purged_records;
DROP TRIGGER usage_delete ON data.purged_records;
DROP TRIGGER usage_insert ON data.cycle_data_conflicts;
DROP TRIGGER usage_delete ON data.cycle_data_conflicts;
DROP TRIGGER usage_insert ON data.envelope_nonces;
DROP TRIGGER usage_delete ON data.envelope_nonces;
DROP TRIGGER usage_insert ON data.healthcare_share;
DROP TRIGGER usage_delete ON data.healthcare_share;
DROP TRIGGER usage_update ON data.healthcare_share;
DROP TRIGGER usage_insert ON data.requests;
DROP TRIGGER usage_delete ON data.requests;
DROP FUNCTION data.count_added_conversations(), data.count_changed_conversations();
DROP FUNCTION data.count_added_analysis_jobs(), data.count_changed_analysis_jobs();
DROP FUNCTION data.count_added_analysis_results(), data.count_changed_analysis_results();
DROP FUNCTION data.count_added_crisis_events(), data.count_changed_crisis_events();
DROP FUNCTION data.count_added_encrypted_cycle_data(), data.count_changed_encrypted_cycle_data();
DROP FUNCTION data.count_added_purged_records(), data.count_changed_purged_records();
DROP FUNCTION data.count_added_cycle_data_conflicts(), data.count_changed_cycle_data_conflicts();
DROP FUNCTION data.count_added_envelope_nonces(), data.count_changed_envelope_nonces();
DROP FUNCTION data.count_added_healthcare_share(), data.count_changed_healthcare_share();
DROP FUNCTION data.count_added_requests(), data.count_changed_requests();
DROP FUNCTION data.refuse_early();
DROP FUNCTION data.charge_mutations(integer);
DROP FUNCTION data.admit_mutations(uuid, integer, boolean);
DROP FUNCTION data.mutation_wait(timestamptz, timestamptz, interval, interval, timestamptz);
DROP FUNCTION data.may_analyze();
DROP FUNCTION data.check_quota(text, bigint, bigint);
DROP POLICY requests_user_insert ON data.requests;
CREATE POLICY requests_user_insert ON data.requests FOR INSERT TO data_user
    WITH CHECK (user_id = (SELECT auth.uid()));
ALTER TABLE data.requests DROP COLUMN by_service;
DROP POLICY users_count_select ON data.users;
DROP POLICY users_count_lock ON data.users;
DROP TABLE data.usage_counters;

DROP POLICY envelope_nonces_user_delete ON data.envelope_nonces;
CREATE POLICY envelope_nonces_user_delete ON data.envelope_nonces FOR DELETE TO data_user
    USING (user_id = (SELECT auth.uid()) AND key_version < (SELECT d.key_version FROM data.device_key AS d
        WHERE d.user_id = envelope_nonces.user_id AND d.id = envelope_nonces.key_id));
CREATE OR REPLACE FUNCTION data.rotate_device_key(
    device uuid, expected_key_version integer, encrypted_master_key bytea, key_derivation_path text, at timestamptz
) RETURNS TABLE (outcome text, key_version integer, next_rotation_at timestamptz)
    LANGUAGE plpgsql VOLATILE ROWS 1 SECURITY INVOKER SET search_path = ''
    AS $$
DECLARE
    person CONSTANT uuid := auth.uid();
    held record;
BEGIN
    PERFORM FROM data.change_counters AS c WHERE c.user_id = person FOR NO KEY UPDATE;
    SELECT d.status, d.key_version, d.next_rotation_at INTO held
        FROM data.device_key AS d WHERE d.user_id = person AND d.id = device;
    IF NOT FOUND THEN
        RETURN QUERY SELECT 'not_found', NULL::integer, NULL::timestamptz;
        RETURN;
    ELSIF held.status = 'revoked' THEN
        RETURN QUERY SELECT 'revoked', held.key_version, held.next_rotation_at;
        RETURN;
    ELSIF held.key_version IS DISTINCT FROM expected_key_version THEN
        RETURN QUERY SELECT 'stale', held.key_version, held.next_rotation_at;
        RETURN;
    END IF;
    -- So many at once, as takes no time that others would notice; the rest goes with the next rotation.
    DELETE FROM data.envelope_nonces AS n
        WHERE n.user_id = person AND n.ctid = ANY (ARRAY(
            SELECT o.ctid FROM data.envelope_nonces AS o
            WHERE o.user_id = person AND o.key_id = device AND o.key_version < held.key_version
                AND o.used_at < rotate_device_key.at - interval '180 days'
            LIMIT 10000));
    INSERT INTO data.security_audit_log (user_id, event, subject_id, occurred_at)
        VALUES (person, 'device_key_rotated', device, rotate_device_key.at);
    RETURN QUERY
        UPDATE data.device_key AS d
        SET encrypted_master_key = rotate_device_key.encrypted_master_key,
            key_derivation_path = rotate_device_key.key_derivation_path,
            key_version = d.key_version + 1, status = 'active', last_active_at = rotate_device_key.at,
            next_rotation_at = rotate_device_key.at + interval '90 days'
        WHERE d.user_id = person AND d.id = device
        RETURNING 'rotated', d.key_version, d.next_rotation_at;
END
$$;

SET LOCAL row_security = on;
