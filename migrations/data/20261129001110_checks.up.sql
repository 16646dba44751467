-- oldest_binary: 20261129000600
SET LOCAL row_security = off;

-- Postgres reads each CHECK of a table from its text again for every statement, and keeps a function of plpgsql compiled in the
-- session. So the rules of a row are in a function where a table has many of them: see migrations/README.md. Each rule keeps its
-- name, the order in which Postgres tried them, which is that of their names, and that NULL passes.
--
-- The functions that hold the rules have no search_path of their own: to set it costs as much as what they do. Besides refuse_row
-- they name only what is in pg_catalog, and no role that writes a row may create an object that could hide that.

CREATE FUNCTION data.refuse_row(relation text, rule text) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = ''
    AS $$
BEGIN
    RAISE check_violation USING
        MESSAGE = format('new row for relation "%s" violates check constraint "%s"', relation, rule),
        SCHEMA = 'data', TABLE = relation, CONSTRAINT = rule;
END
$$;
COMMENT ON FUNCTION data.refuse_row IS
    'Fails as a CHECK of that name does, without the row''s content.';
GRANT EXECUTE ON FUNCTION data.refuse_row TO data_service, data_user;

CREATE FUNCTION data.check_conversations(
    number bigint, sender_type text, message_text text, key_id text, version bigint
) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    AS $$
DECLARE
    broken CONSTANT text := CASE
        WHEN NOT (octet_length(key_id) BETWEEN 1 AND 64) THEN 'conversations_key_id_check'
        -- Every Fernet token begins like this: a text that was not sealed cannot be stored.
        WHEN NOT (message_text LIKE 'gAAAA%') THEN 'conversations_message_text_check'
        WHEN NOT (number >= 1) THEN 'conversations_number_check'
        WHEN NOT (sender_type IN ('user', 'coach', 'system')) THEN 'conversations_sender_type_check'
        WHEN NOT (version >= 1) THEN 'conversations_version_check'
    END;
BEGIN
    IF broken IS NULL THEN
        RETURN true;
    END IF;
    RETURN data.refuse_row('conversations', broken);
END
$$;
COMMENT ON FUNCTION data.check_conversations IS 'The rules of a row of data.conversations.';
GRANT EXECUTE ON FUNCTION data.check_conversations TO data_service, data_user;

CREATE FUNCTION data.check_analysis_jobs(
    first_number bigint, last_number bigint, priority smallint, attempts smallint, retry_limit smallint, state text,
    lease_token uuid, lease_holder text, lease_expires_at timestamptz, last_error text, finished_at timestamptz,
    lost_leases smallint, extended_attempt smallint, lease_digest bytea
) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    AS $$
DECLARE
    broken CONSTANT text := CASE
        WHEN NOT (attempts BETWEEN 0 AND retry_limit) THEN 'analysis_jobs_attempts_check'
        WHEN NOT (extended_attempt BETWEEN 1 AND attempts) THEN 'analysis_jobs_extended_attempt_check'
        WHEN NOT ((finished_at IS NOT NULL) = (state IN ('done', 'dead'))) THEN 'analysis_jobs_finished_at_check'
        -- A name out of a program, and never what a person wrote.
        WHEN NOT (last_error ~ '^[A-Z][A-Z0-9_]{0,62}$') THEN 'analysis_jobs_last_error_check'
        WHEN NOT (num_nonnulls(lease_digest, lease_holder, lease_expires_at) = CASE state WHEN 'leased' THEN 3 ELSE 0 END
            AND (lease_token IS NULL OR state = 'leased')) THEN 'analysis_jobs_lease_check'
        WHEN NOT (octet_length(lease_digest) = 32) THEN 'analysis_jobs_lease_digest_check'
        WHEN NOT (octet_length(lease_holder) BETWEEN 1 AND 255) THEN 'analysis_jobs_lease_holder_check'
        WHEN NOT (lost_leases BETWEEN 0 AND attempts) THEN 'analysis_jobs_lost_leases_check'
        WHEN NOT (priority IN (0, 1)) THEN 'analysis_jobs_priority_check'
        WHEN NOT (first_number BETWEEN 1 AND last_number) THEN 'analysis_jobs_range_check'
        WHEN NOT (state IN ('queued', 'leased', 'done', 'dead')) THEN 'analysis_jobs_state_check'
    END;
BEGIN
    IF broken IS NULL THEN
        RETURN true;
    END IF;
    RETURN data.refuse_row('analysis_jobs', broken);
END
$$;
COMMENT ON FUNCTION data.check_analysis_jobs IS 'The rules of a row of data.analysis_jobs.';
GRANT EXECUTE ON FUNCTION data.check_analysis_jobs TO data_service, data_user;

CREATE FUNCTION data.check_analysis_results(
    analysis_type text, chat_score smallint, first_number bigint, last_number bigint, details text, key_id text,
    triggered_milestone text, version bigint
) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    AS $$
DECLARE
    broken CONSTANT text := CASE
        WHEN NOT (analysis_type IN ('chat_scoring', 'milestone_check', 'graduation_assessment', 'crisis_review'))
            THEN 'analysis_results_analysis_type_check'
        WHEN NOT (chat_score BETWEEN 0 AND 140) THEN 'analysis_results_chat_score_check'
        WHEN NOT (details LIKE 'gAAAA%') THEN 'analysis_results_details_check'
        WHEN NOT (octet_length(key_id) BETWEEN 1 AND 64) THEN 'analysis_results_key_id_check'
        WHEN NOT (first_number BETWEEN 1 AND last_number) THEN 'analysis_results_range_check'
        WHEN NOT (triggered_milestone ~ '^[a-z][a-z0-9_]{0,62}$') THEN 'analysis_results_triggered_milestone_check'
        WHEN NOT (version >= 1) THEN 'analysis_results_version_check'
    END;
BEGIN
    IF broken IS NULL THEN
        RETURN true;
    END IF;
    RETURN data.refuse_row('analysis_results', broken);
END
$$;
COMMENT ON FUNCTION data.check_analysis_results IS 'The rules of a row of data.analysis_results.';
GRANT EXECUTE ON FUNCTION data.check_analysis_results TO data_service, data_user;

CREATE FUNCTION data.check_device_key(
    device_id_hash bytea, encrypted_master_key bytea, key_derivation_path text, key_version integer, status text,
    platform text, app_version text, acknowledged_number bigint, encrypted_label bytea
) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    AS $$
DECLARE
    broken CONSTANT text := CASE
        WHEN NOT (acknowledged_number >= 0) THEN 'device_key_acknowledged_number_check'
        WHEN NOT (octet_length(app_version) BETWEEN 1 AND 64) THEN 'device_key_app_version_check'
        WHEN NOT (octet_length(device_id_hash) BETWEEN 32 AND 40) THEN 'device_key_device_id_hash_check'
        WHEN NOT (octet_length(encrypted_label) BETWEEN 28 AND 256) THEN 'device_key_encrypted_label_check'
        WHEN NOT (octet_length(encrypted_master_key) BETWEEN 32 AND 1024) THEN 'device_key_encrypted_master_key_check'
        WHEN NOT (octet_length(key_derivation_path) <= 128 AND key_derivation_path ~ '^m(/[0-9]{1,10}''?)*$')
            THEN 'device_key_key_derivation_path_check'
        WHEN NOT (key_version >= 1) THEN 'device_key_key_version_check'
        WHEN NOT (platform IN ('ios', 'android', 'web')) THEN 'device_key_platform_check'
        -- A revoked device does not need the master key.
        WHEN NOT ((status = 'revoked') = (encrypted_master_key IS NULL)) THEN 'device_key_revoked_check'
        WHEN NOT (status IN ('active', 'suspended', 'revoked')) THEN 'device_key_status_check'
    END;
BEGIN
    IF broken IS NULL THEN
        RETURN true;
    END IF;
    RETURN data.refuse_row('device_key', broken);
END
$$;
COMMENT ON FUNCTION data.check_device_key IS 'The rules of a row of data.device_key.';
GRANT EXECUTE ON FUNCTION data.check_device_key TO data_user;

CREATE FUNCTION data.check_envelope(
    relation text, encrypted_payload bytea, envelope_version smallint, algorithm text, key_id uuid,
    key_version integer, nonce bytea, salt bytea, kdf_memory_kib integer, kdf_iterations integer,
    kdf_parallelism integer, associated_data_version smallint
) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    AS $$
DECLARE
    broken CONSTANT text := CASE
        WHEN NOT (algorithm IN ('xchacha20_poly1305', 'aes_256_gcm')) THEN 'envelope_algorithm_check'
        WHEN NOT (associated_data_version = 1) THEN 'envelope_associated_data_version_check'
        -- All of it, or nothing of it: what is deleted has none.
        WHEN NOT (num_nulls(encrypted_payload, envelope_version, algorithm, key_id, key_version, nonce, salt,
            kdf_memory_kib, kdf_iterations, kdf_parallelism, associated_data_version) IN (0, 11)) THEN 'envelope_check'
        -- An authentication tag at least. Of 40 random bytes one is no ASCII; of 40 bytes of text in English all are. To
        -- escape writes a byte above 127 as \2xx or \3xx, and a backslash as two: an odd number of them before a 2 or a 3
        -- is one.
        WHEN NOT (octet_length(encrypted_payload) >= 16
            AND (octet_length(encrypted_payload) < 40
                OR encode(substr(encrypted_payload, 1, 256), 'escape') ~ '(^|[^\\])(\\\\)*\\[23]'))
            THEN 'envelope_encrypted_payload_check'
        WHEN NOT (envelope_version = 1) THEN 'envelope_envelope_version_check'
        WHEN NOT (kdf_iterations BETWEEN 2 AND 64) THEN 'envelope_kdf_iterations_check'
        -- The least is what OWASP asks of argon2id; the most is what a small device can still do.
        WHEN NOT (kdf_memory_kib BETWEEN 19456 AND 1048576) THEN 'envelope_kdf_memory_kib_check'
        WHEN NOT (kdf_parallelism BETWEEN 1 AND 16) THEN 'envelope_kdf_parallelism_check'
        WHEN NOT (key_version >= 1) THEN 'envelope_key_version_check'
        WHEN NOT (octet_length(nonce) = CASE algorithm WHEN 'xchacha20_poly1305' THEN 24 WHEN 'aes_256_gcm' THEN 12 END)
            THEN 'envelope_nonce_check'
        WHEN NOT (octet_length(salt) BETWEEN 16 AND 64) THEN 'envelope_salt_check'
    END;
BEGIN
    IF broken IS NULL THEN
        RETURN true;
    END IF;
    RETURN data.refuse_row(relation, broken);
END
$$;
COMMENT ON FUNCTION data.check_envelope IS 'The rules of an encrypted envelope, which four tables have.';
GRANT EXECUTE ON FUNCTION data.check_envelope TO data_user;

CREATE FUNCTION data.check_encrypted_cycle_data(
    encrypted_payload bytea, key_id uuid, version bigint, device_id uuid, change_number bigint,
    open_conflicts integer, deleted_at timestamptz
) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    AS $$
DECLARE
    broken CONSTANT text := CASE
        WHEN NOT (change_number >= 1) THEN 'encrypted_cycle_data_change_number_check'
        WHEN NOT ((deleted_at IS NULL) = (encrypted_payload IS NOT NULL)) THEN 'encrypted_cycle_data_deleted_check'
        -- A device encrypts under its own key.
        WHEN NOT (key_id = device_id) THEN 'encrypted_cycle_data_key_id_check'
        WHEN NOT (open_conflicts >= 0) THEN 'encrypted_cycle_data_open_conflicts_check'
        WHEN NOT (octet_length(encrypted_payload) <= 65536) THEN 'encrypted_cycle_data_payload_size_check'
        WHEN NOT (version >= 1) THEN 'encrypted_cycle_data_version_check'
    END;
BEGIN
    IF broken IS NULL THEN
        RETURN true;
    END IF;
    RETURN data.refuse_row('encrypted_cycle_data', broken);
END
$$;
COMMENT ON FUNCTION data.check_encrypted_cycle_data IS 'The rules of a row of data.encrypted_cycle_data.';
GRANT EXECUTE ON FUNCTION data.check_encrypted_cycle_data TO data_user;

CREATE FUNCTION data.check_cycle_data_conflicts(
    base_version bigint, encrypted_payload bytea, key_id uuid, device_id uuid, change_number bigint
) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    AS $$
DECLARE
    broken CONSTANT text := CASE
        WHEN NOT (base_version >= 0) THEN 'cycle_data_conflicts_base_version_check'
        WHEN NOT (change_number >= 1) THEN 'cycle_data_conflicts_change_number_check'
        WHEN NOT (key_id = device_id) THEN 'cycle_data_conflicts_key_id_check'
        WHEN NOT (octet_length(encrypted_payload) <= 65536) THEN 'cycle_data_conflicts_payload_size_check'
    END;
BEGIN
    IF broken IS NULL THEN
        RETURN true;
    END IF;
    RETURN data.refuse_row('cycle_data_conflicts', broken);
END
$$;
COMMENT ON FUNCTION data.check_cycle_data_conflicts IS 'The rules of a row of data.cycle_data_conflicts.';
GRANT EXECUTE ON FUNCTION data.check_cycle_data_conflicts TO data_user;

CREATE FUNCTION data.check_encrypted_user_prefs(
    encrypted_payload bytea, key_id uuid, version bigint, device_id uuid
) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    AS $$
DECLARE
    broken CONSTANT text := CASE
        WHEN NOT (encrypted_payload IS NOT NULL) THEN 'encrypted_user_prefs_encrypted_check'
        WHEN NOT (key_id = device_id) THEN 'encrypted_user_prefs_key_id_check'
        WHEN NOT (octet_length(encrypted_payload) <= 65536) THEN 'encrypted_user_prefs_payload_size_check'
        WHEN NOT (version >= 1) THEN 'encrypted_user_prefs_version_check'
    END;
BEGIN
    IF broken IS NULL THEN
        RETURN true;
    END IF;
    RETURN data.refuse_row('encrypted_user_prefs', broken);
END
$$;
COMMENT ON FUNCTION data.check_encrypted_user_prefs IS 'The rules of a row of data.encrypted_user_prefs.';
GRANT EXECUTE ON FUNCTION data.check_encrypted_user_prefs TO data_user;

-- Stable, because how long 90 days are depends on the session's time zone.
CREATE FUNCTION data.check_healthcare_share(
    encrypted_payload bytea, passcode_hash text, wrong_passcodes integer, expires_at timestamptz,
    max_access_count integer, access_count integer, created_at timestamptz, ended_at timestamptz
) RETURNS boolean
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    AS $$
DECLARE
    broken CONSTANT text := CASE
        WHEN NOT (access_count BETWEEN 0 AND max_access_count) THEN 'healthcare_share_access_count_check'
        WHEN NOT ((ended_at IS NULL) = (encrypted_payload IS NOT NULL) AND (ended_at IS NULL OR passcode_hash IS NULL))
            THEN 'healthcare_share_ended_check'
        WHEN NOT (expires_at > created_at AND expires_at <= created_at + interval '90 days')
            THEN 'healthcare_share_expires_at_check'
        WHEN NOT (max_access_count BETWEEN 1 AND 1000) THEN 'healthcare_share_max_access_count_check'
        WHEN NOT (passcode_hash LIKE '$argon2id$v=19$%') THEN 'healthcare_share_passcode_hash_check'
        WHEN NOT (octet_length(encrypted_payload) <= 262144) THEN 'healthcare_share_payload_size_check'
        WHEN NOT (wrong_passcodes BETWEEN 0 AND 5) THEN 'healthcare_share_wrong_passcodes_check'
    END;
BEGIN
    IF broken IS NULL THEN
        RETURN true;
    END IF;
    RETURN data.refuse_row('healthcare_share', broken);
END
$$;
COMMENT ON FUNCTION data.check_healthcare_share IS 'The rules of a row of data.healthcare_share.';
GRANT EXECUTE ON FUNCTION data.check_healthcare_share TO data_user;

ALTER TABLE data.conversations
    ADD CONSTRAINT conversations_rules CHECK (data.check_conversations(number, sender_type, message_text, key_id, version))
        NOT VALID;
ALTER TABLE data.analysis_jobs
    ADD CONSTRAINT analysis_jobs_rules CHECK (data.check_analysis_jobs(first_number, last_number, priority, attempts,
        retry_limit, state, lease_token, lease_holder, lease_expires_at, last_error, finished_at, lost_leases,
        extended_attempt, lease_digest)) NOT VALID;
ALTER TABLE data.analysis_results
    ADD CONSTRAINT analysis_results_rules CHECK (data.check_analysis_results(analysis_type, chat_score, first_number,
        last_number, details, key_id, triggered_milestone, version)) NOT VALID;
ALTER TABLE data.device_key
    ADD CONSTRAINT device_key_rules CHECK (data.check_device_key(device_id_hash, encrypted_master_key, key_derivation_path,
        key_version, status, platform, app_version, acknowledged_number, encrypted_label)) NOT VALID;
ALTER TABLE data.encrypted_cycle_data
    ADD CONSTRAINT encrypted_cycle_data_rules CHECK (data.check_encrypted_cycle_data(encrypted_payload, key_id, version,
        device_id, change_number, open_conflicts, deleted_at)) NOT VALID,
    ADD CONSTRAINT envelope_rules CHECK (data.check_envelope('encrypted_cycle_data', encrypted_payload, envelope_version,
        algorithm, key_id, key_version, nonce, salt, kdf_memory_kib, kdf_iterations, kdf_parallelism,
        associated_data_version)) NOT VALID;
ALTER TABLE data.cycle_data_conflicts
    ADD CONSTRAINT cycle_data_conflicts_rules CHECK (data.check_cycle_data_conflicts(base_version, encrypted_payload, key_id,
        device_id, change_number)) NOT VALID,
    ADD CONSTRAINT envelope_rules CHECK (data.check_envelope('cycle_data_conflicts', encrypted_payload, envelope_version,
        algorithm, key_id, key_version, nonce, salt, kdf_memory_kib, kdf_iterations, kdf_parallelism,
        associated_data_version)) NOT VALID;
ALTER TABLE data.encrypted_user_prefs
    ADD CONSTRAINT encrypted_user_prefs_rules CHECK (data.check_encrypted_user_prefs(encrypted_payload, key_id, version,
        device_id)) NOT VALID,
    ADD CONSTRAINT envelope_rules CHECK (data.check_envelope('encrypted_user_prefs', encrypted_payload, envelope_version,
        algorithm, key_id, key_version, nonce, salt, kdf_memory_kib, kdf_iterations, kdf_parallelism,
        associated_data_version)) NOT VALID;
ALTER TABLE data.healthcare_share
    ADD CONSTRAINT healthcare_share_rules CHECK (data.check_healthcare_share(encrypted_payload, passcode_hash,
        wrong_passcodes, expires_at, max_access_count, access_count, created_at, ended_at)) NOT VALID,
    ADD CONSTRAINT envelope_rules CHECK (data.check_envelope('healthcare_share', encrypted_payload, envelope_version,
        algorithm, key_id, key_version, nonce, salt, kdf_memory_kib, kdf_iterations, kdf_parallelism,
        associated_data_version)) NOT VALID;

-- The constraints from before hold until these are valid. The way back makes them valid again in a transaction that stops no
-- write, so they go through the state in which they are not.
DO $$
DECLARE
    relation regclass;
    name text;
    definition text;
BEGIN
    FOR relation, name, definition IN
        SELECT c.conrelid::regclass, c.conname, pg_get_constraintdef(c.oid) FROM pg_constraint AS c
        WHERE c.contype = 'c' AND c.conname NOT LIKE '%\_rules' AND c.conrelid = ANY (ARRAY[
            'data.conversations', 'data.analysis_jobs', 'data.analysis_results', 'data.device_key',
            'data.encrypted_cycle_data', 'data.cycle_data_conflicts', 'data.encrypted_user_prefs',
            'data.healthcare_share'
        ]::regclass[])
    LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I, ADD CONSTRAINT %I %s NOT VALID', relation, name, name, definition);
    END LOOP;
END
$$;

SET LOCAL row_security = on;
