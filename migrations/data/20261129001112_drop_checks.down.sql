SET LOCAL row_security = off;

-- The migration before makes them valid.
ALTER TABLE data.conversations
    ADD CONSTRAINT conversations_key_id_check CHECK (octet_length(key_id) BETWEEN 1 AND 64) NOT VALID,
    ADD CONSTRAINT conversations_message_text_check CHECK (message_text LIKE 'gAAAA%') NOT VALID,
    ADD CONSTRAINT conversations_number_check CHECK (number >= 1) NOT VALID,
    ADD CONSTRAINT conversations_sender_type_check CHECK (sender_type IN ('user', 'coach', 'system')) NOT VALID,
    ADD CONSTRAINT conversations_version_check CHECK (version >= 1) NOT VALID;
ALTER TABLE data.analysis_jobs
    ADD CONSTRAINT analysis_jobs_attempts_check CHECK (attempts BETWEEN 0 AND retry_limit) NOT VALID,
    ADD CONSTRAINT analysis_jobs_extended_attempt_check CHECK (extended_attempt BETWEEN 1 AND attempts) NOT VALID,
    ADD CONSTRAINT analysis_jobs_finished_at_check CHECK ((finished_at IS NOT NULL) = (state IN ('done', 'dead'))) NOT VALID,
    ADD CONSTRAINT analysis_jobs_last_error_check CHECK (last_error ~ '^[A-Z][A-Z0-9_]{0,62}$') NOT VALID,
    ADD CONSTRAINT analysis_jobs_lease_check CHECK (
        num_nonnulls(lease_digest, lease_holder, lease_expires_at) = CASE state WHEN 'leased' THEN 3 ELSE 0 END
        AND (lease_token IS NULL OR state = 'leased')
    ) NOT VALID,
    ADD CONSTRAINT analysis_jobs_lease_digest_check CHECK (octet_length(lease_digest) = 32) NOT VALID,
    ADD CONSTRAINT analysis_jobs_lease_holder_check CHECK (octet_length(lease_holder) BETWEEN 1 AND 255) NOT VALID,
    ADD CONSTRAINT analysis_jobs_lost_leases_check CHECK (lost_leases BETWEEN 0 AND attempts) NOT VALID,
    ADD CONSTRAINT analysis_jobs_priority_check CHECK (priority IN (0, 1)) NOT VALID,
    ADD CONSTRAINT analysis_jobs_range_check CHECK (first_number BETWEEN 1 AND last_number) NOT VALID,
    ADD CONSTRAINT analysis_jobs_state_check CHECK (state IN ('queued', 'leased', 'done', 'dead')) NOT VALID;
ALTER TABLE data.analysis_results
    ADD CONSTRAINT analysis_results_analysis_type_check CHECK (
        analysis_type IN ('chat_scoring', 'milestone_check', 'graduation_assessment', 'crisis_review')
    ) NOT VALID,
    ADD CONSTRAINT analysis_results_chat_score_check CHECK (chat_score BETWEEN 0 AND 140) NOT VALID,
    ADD CONSTRAINT analysis_results_details_check CHECK (details LIKE 'gAAAA%') NOT VALID,
    ADD CONSTRAINT analysis_results_key_id_check CHECK (octet_length(key_id) BETWEEN 1 AND 64) NOT VALID,
    ADD CONSTRAINT analysis_results_range_check CHECK (first_number BETWEEN 1 AND last_number) NOT VALID,
    ADD CONSTRAINT analysis_results_triggered_milestone_check CHECK (
        triggered_milestone ~ '^[a-z][a-z0-9_]{0,62}$'
    ) NOT VALID,
    ADD CONSTRAINT analysis_results_version_check CHECK (version >= 1) NOT VALID;
ALTER TABLE data.device_key
    ADD CONSTRAINT device_key_acknowledged_number_check CHECK (acknowledged_number >= 0) NOT VALID,
    ADD CONSTRAINT device_key_app_version_check CHECK (octet_length(app_version) BETWEEN 1 AND 64) NOT VALID,
    ADD CONSTRAINT device_key_device_id_hash_check CHECK (octet_length(device_id_hash) BETWEEN 32 AND 40) NOT VALID,
    ADD CONSTRAINT device_key_encrypted_label_check CHECK (octet_length(encrypted_label) BETWEEN 28 AND 256) NOT VALID,
    ADD CONSTRAINT device_key_encrypted_master_key_check CHECK (
        octet_length(encrypted_master_key) BETWEEN 32 AND 1024
    ) NOT VALID,
    ADD CONSTRAINT device_key_key_derivation_path_check CHECK (
        octet_length(key_derivation_path) <= 128 AND key_derivation_path ~ '^m(/[0-9]{1,10}''?)*$'
    ) NOT VALID,
    ADD CONSTRAINT device_key_key_version_check CHECK (key_version >= 1) NOT VALID,
    ADD CONSTRAINT device_key_platform_check CHECK (platform IN ('ios', 'android', 'web')) NOT VALID,
    ADD CONSTRAINT device_key_revoked_check CHECK ((status = 'revoked') = (encrypted_master_key IS NULL)) NOT VALID,
    ADD CONSTRAINT device_key_status_check CHECK (status IN ('active', 'suspended', 'revoked')) NOT VALID;
ALTER TABLE data.encrypted_cycle_data
    ADD CONSTRAINT encrypted_cycle_data_change_number_check CHECK (change_number >= 1) NOT VALID,
    ADD CONSTRAINT encrypted_cycle_data_deleted_check CHECK (
        (deleted_at IS NULL) = (encrypted_payload IS NOT NULL)
    ) NOT VALID,
    ADD CONSTRAINT encrypted_cycle_data_key_id_check CHECK (key_id = device_id) NOT VALID,
    ADD CONSTRAINT encrypted_cycle_data_open_conflicts_check CHECK (open_conflicts >= 0) NOT VALID,
    ADD CONSTRAINT encrypted_cycle_data_payload_size_check CHECK (octet_length(encrypted_payload) <= 65536) NOT VALID,
    ADD CONSTRAINT encrypted_cycle_data_version_check CHECK (version >= 1) NOT VALID,
    ADD CONSTRAINT envelope_algorithm_check CHECK (algorithm IN ('xchacha20_poly1305', 'aes_256_gcm')) NOT VALID,
    ADD CONSTRAINT envelope_associated_data_version_check CHECK (associated_data_version = 1) NOT VALID,
    ADD CONSTRAINT envelope_check CHECK (
        num_nulls(encrypted_payload, envelope_version, algorithm, key_id, key_version, nonce, salt,
        kdf_memory_kib, kdf_iterations, kdf_parallelism, associated_data_version) IN (0, 11)
    ) NOT VALID,
    ADD CONSTRAINT envelope_encrypted_payload_check CHECK (octet_length(encrypted_payload) >= 16
        AND (octet_length(encrypted_payload) < 40
            OR encode(substr(encrypted_payload, 1, 256), 'escape') ~ '(^|[^\\])(\\\\)*\\[23]')) NOT VALID,
    ADD CONSTRAINT envelope_envelope_version_check CHECK (envelope_version = 1) NOT VALID,
    ADD CONSTRAINT envelope_kdf_iterations_check CHECK (kdf_iterations BETWEEN 2 AND 64) NOT VALID,
    ADD CONSTRAINT envelope_kdf_memory_kib_check CHECK (kdf_memory_kib BETWEEN 19456 AND 1048576) NOT VALID,
    ADD CONSTRAINT envelope_kdf_parallelism_check CHECK (kdf_parallelism BETWEEN 1 AND 16) NOT VALID,
    ADD CONSTRAINT envelope_key_version_check CHECK (key_version >= 1) NOT VALID,
    ADD CONSTRAINT envelope_nonce_check CHECK (
        octet_length(nonce) = CASE algorithm WHEN 'xchacha20_poly1305' THEN 24 WHEN 'aes_256_gcm' THEN 12 END
    ) NOT VALID,
    ADD CONSTRAINT envelope_salt_check CHECK (octet_length(salt) BETWEEN 16 AND 64) NOT VALID;
ALTER TABLE data.cycle_data_conflicts
    ADD CONSTRAINT cycle_data_conflicts_base_version_check CHECK (base_version >= 0) NOT VALID,
    ADD CONSTRAINT cycle_data_conflicts_change_number_check CHECK (change_number >= 1) NOT VALID,
    ADD CONSTRAINT cycle_data_conflicts_key_id_check CHECK (key_id = device_id) NOT VALID,
    ADD CONSTRAINT cycle_data_conflicts_payload_size_check CHECK (octet_length(encrypted_payload) <= 65536) NOT VALID,
    ADD CONSTRAINT envelope_algorithm_check CHECK (algorithm IN ('xchacha20_poly1305', 'aes_256_gcm')) NOT VALID,
    ADD CONSTRAINT envelope_associated_data_version_check CHECK (associated_data_version = 1) NOT VALID,
    ADD CONSTRAINT envelope_check CHECK (
        num_nulls(encrypted_payload, envelope_version, algorithm, key_id, key_version, nonce, salt,
        kdf_memory_kib, kdf_iterations, kdf_parallelism, associated_data_version) IN (0, 11)
    ) NOT VALID,
    ADD CONSTRAINT envelope_encrypted_payload_check CHECK (octet_length(encrypted_payload) >= 16
        AND (octet_length(encrypted_payload) < 40
            OR encode(substr(encrypted_payload, 1, 256), 'escape') ~ '(^|[^\\])(\\\\)*\\[23]')) NOT VALID,
    ADD CONSTRAINT envelope_envelope_version_check CHECK (envelope_version = 1) NOT VALID,
    ADD CONSTRAINT envelope_kdf_iterations_check CHECK (kdf_iterations BETWEEN 2 AND 64) NOT VALID,
    ADD CONSTRAINT envelope_kdf_memory_kib_check CHECK (kdf_memory_kib BETWEEN 19456 AND 1048576) NOT VALID,
    ADD CONSTRAINT envelope_kdf_parallelism_check CHECK (kdf_parallelism BETWEEN 1 AND 16) NOT VALID,
    ADD CONSTRAINT envelope_key_version_check CHECK (key_version >= 1) NOT VALID,
    ADD CONSTRAINT envelope_nonce_check CHECK (
        octet_length(nonce) = CASE algorithm WHEN 'xchacha20_poly1305' THEN 24 WHEN 'aes_256_gcm' THEN 12 END
    ) NOT VALID,
    ADD CONSTRAINT envelope_salt_check CHECK (octet_length(salt) BETWEEN 16 AND 64) NOT VALID;
ALTER TABLE data.encrypted_user_prefs
    ADD CONSTRAINT encrypted_user_prefs_encrypted_check CHECK (encrypted_payload IS NOT NULL) NOT VALID,
    ADD CONSTRAINT encrypted_user_prefs_key_id_check CHECK (key_id = device_id) NOT VALID,
    ADD CONSTRAINT encrypted_user_prefs_payload_size_check CHECK (octet_length(encrypted_payload) <= 65536) NOT VALID,
    ADD CONSTRAINT encrypted_user_prefs_version_check CHECK (version >= 1) NOT VALID,
    ADD CONSTRAINT envelope_algorithm_check CHECK (algorithm IN ('xchacha20_poly1305', 'aes_256_gcm')) NOT VALID,
    ADD CONSTRAINT envelope_associated_data_version_check CHECK (associated_data_version = 1) NOT VALID,
    ADD CONSTRAINT envelope_check CHECK (
        num_nulls(encrypted_payload, envelope_version, algorithm, key_id, key_version, nonce, salt,
        kdf_memory_kib, kdf_iterations, kdf_parallelism, associated_data_version) IN (0, 11)
    ) NOT VALID,
    ADD CONSTRAINT envelope_encrypted_payload_check CHECK (octet_length(encrypted_payload) >= 16
        AND (octet_length(encrypted_payload) < 40
            OR encode(substr(encrypted_payload, 1, 256), 'escape') ~ '(^|[^\\])(\\\\)*\\[23]')) NOT VALID,
    ADD CONSTRAINT envelope_envelope_version_check CHECK (envelope_version = 1) NOT VALID,
    ADD CONSTRAINT envelope_kdf_iterations_check CHECK (kdf_iterations BETWEEN 2 AND 64) NOT VALID,
    ADD CONSTRAINT envelope_kdf_memory_kib_check CHECK (kdf_memory_kib BETWEEN 19456 AND 1048576) NOT VALID,
    ADD CONSTRAINT envelope_kdf_parallelism_check CHECK (kdf_parallelism BETWEEN 1 AND 16) NOT VALID,
    ADD CONSTRAINT envelope_key_version_check CHECK (key_version >= 1) NOT VALID,
    ADD CONSTRAINT envelope_nonce_check CHECK (
        octet_length(nonce) = CASE algorithm WHEN 'xchacha20_poly1305' THEN 24 WHEN 'aes_256_gcm' THEN 12 END
    ) NOT VALID,
    ADD CONSTRAINT envelope_salt_check CHECK (octet_length(salt) BETWEEN 16 AND 64) NOT VALID;
ALTER TABLE data.healthcare_share
    ADD CONSTRAINT envelope_algorithm_check CHECK (algorithm IN ('xchacha20_poly1305', 'aes_256_gcm')) NOT VALID,
    ADD CONSTRAINT envelope_associated_data_version_check CHECK (associated_data_version = 1) NOT VALID,
    ADD CONSTRAINT envelope_check CHECK (
        num_nulls(encrypted_payload, envelope_version, algorithm, key_id, key_version, nonce, salt,
        kdf_memory_kib, kdf_iterations, kdf_parallelism, associated_data_version) IN (0, 11)
    ) NOT VALID,
    ADD CONSTRAINT envelope_encrypted_payload_check CHECK (octet_length(encrypted_payload) >= 16
        AND (octet_length(encrypted_payload) < 40
            OR encode(substr(encrypted_payload, 1, 256), 'escape') ~ '(^|[^\\])(\\\\)*\\[23]')) NOT VALID,
    ADD CONSTRAINT envelope_envelope_version_check CHECK (envelope_version = 1) NOT VALID,
    ADD CONSTRAINT envelope_kdf_iterations_check CHECK (kdf_iterations BETWEEN 2 AND 64) NOT VALID,
    ADD CONSTRAINT envelope_kdf_memory_kib_check CHECK (kdf_memory_kib BETWEEN 19456 AND 1048576) NOT VALID,
    ADD CONSTRAINT envelope_kdf_parallelism_check CHECK (kdf_parallelism BETWEEN 1 AND 16) NOT VALID,
    ADD CONSTRAINT envelope_key_version_check CHECK (key_version >= 1) NOT VALID,
    ADD CONSTRAINT envelope_nonce_check CHECK (
        octet_length(nonce) = CASE algorithm WHEN 'xchacha20_poly1305' THEN 24 WHEN 'aes_256_gcm' THEN 12 END
    ) NOT VALID,
    ADD CONSTRAINT envelope_salt_check CHECK (octet_length(salt) BETWEEN 16 AND 64) NOT VALID,
    ADD CONSTRAINT healthcare_share_access_count_check CHECK (access_count BETWEEN 0 AND max_access_count) NOT VALID,
    ADD CONSTRAINT healthcare_share_ended_check CHECK (
        (ended_at IS NULL) = (encrypted_payload IS NOT NULL) AND (ended_at IS NULL OR passcode_hash IS NULL)
    ) NOT VALID,
    ADD CONSTRAINT healthcare_share_expires_at_check CHECK (
        expires_at > created_at AND expires_at <= created_at + interval '90 days'
    ) NOT VALID,
    ADD CONSTRAINT healthcare_share_max_access_count_check CHECK (max_access_count BETWEEN 1 AND 1000) NOT VALID,
    ADD CONSTRAINT healthcare_share_passcode_hash_check CHECK (passcode_hash LIKE '$argon2id$v=19$%') NOT VALID,
    ADD CONSTRAINT healthcare_share_payload_size_check CHECK (octet_length(encrypted_payload) <= 262144) NOT VALID,
    ADD CONSTRAINT healthcare_share_wrong_passcodes_check CHECK (wrong_passcodes BETWEEN 0 AND 5) NOT VALID;

SET LOCAL row_security = on;
