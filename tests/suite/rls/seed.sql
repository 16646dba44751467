-- The rows of one person in every table. The superuser runs it once for each person, with {person}, {name} and {rows}
-- replaced. Where a person may have several rows, people have different numbers of them, so that a count identifies the
-- person.
INSERT INTO identity.users (id, email, email_canonical, password_hash, goals, created_at, updated_at)
    VALUES ('{person}', '{name}@example.com', '{name}@example.com', '$argon2id$not-a-hash', '{make_friends}',
        now(), now());
INSERT INTO identity.consents (user_id, id, document, document_version, granted_at)
    SELECT '{person}', gen_random_uuid(), 'terms', '2026-0' || number, now() FROM generate_series(1, {rows}) AS number;
INSERT INTO identity.sessions (user_id, id, issued_at, expires_at, refresh_expires_at)
    SELECT '{person}', gen_random_uuid(), now(), now() + interval '1 hour', now() + interval '30 days'
    FROM generate_series(1, {rows});
INSERT INTO identity.refresh_tokens (user_id, id, session_id, token_hash, issued_at, expires_at)
    SELECT user_id, gen_random_uuid(), id, sha256(id::text::bytea), issued_at, refresh_expires_at
    FROM identity.sessions WHERE user_id = '{person}';
INSERT INTO identity.device_tokens (user_id, id, token_hash, issued_at, expires_at)
    SELECT '{person}', gen_random_uuid(), sha256(number::text::bytea), now(), now() + interval '90 days'
    FROM generate_series(1, {rows}) AS number;
INSERT INTO identity.recovery_tokens
    (user_id, id, kind, token_hash, email, email_canonical, change_id, opened_at, issued_at, expires_at)
    SELECT '{person}', gen_random_uuid(), 'email_undo', sha256(('{name} recovery ' || number)::bytea), '{name}@example.net',
        '{name}@example.net', gen_random_uuid(), now(), now(), now() + interval '7 days'
    FROM generate_series(1, {rows}) AS number;
INSERT INTO identity.ended_sessions (digest, id, expires_at)
    VALUES (sha256('{name}'), gen_random_uuid(), now() + interval '15 minutes');
INSERT INTO identity.rate_limits (key, tat, emission, tolerance, admitted)
    VALUES (sha256('{name}'), now(), interval '6 s', interval '54 s', true);
INSERT INTO identity.failures (key, count, not_before) VALUES (sha256('{name}'), 1, now());
INSERT INTO identity.security_audit_log (user_id, number, event, refused, occurred_at, digest)
    SELECT '{person}', number, CASE number WHEN 1 THEN 'email_undo' WHEN 2 THEN 'account_export' WHEN 3 THEN 'account_import' ELSE 'sign_in' END, false, now(),
        sha256('{name}')
    FROM generate_series(1, {rows}) AS number;
INSERT INTO identity.audit_chains (user_id, trimmed_number, trimmed_digest, last_number, last_digest)
    VALUES ('{person}', 0, sha256(''), {rows}, sha256('{name}'));
INSERT INTO identity.erasures
    (user_id, request_id, requested_at, erased, data_erased, completed_at, audit_digest, sign_up_digest)
    VALUES ('{person}', gen_random_uuid(), now(), '{}', '{}', now(), sha256('{name}'), sha256('{name}'));
INSERT INTO identity.requests (user_id, id, method, payload_mac, answer, created_at)
    SELECT '{person}', gen_random_uuid(), CASE number WHEN 1 THEN 'SignUp' ELSE 'SignIn' END, sha256('{name}'),
        '{}', now()
    FROM generate_series(1, {rows}) AS number;
INSERT INTO identity.outbox (user_id, id, kind, next_attempt_at, created_at)
    SELECT '{person}', gen_random_uuid(), 'provision_user', now(), now() FROM generate_series(1, {rows});

INSERT INTO data.users (id, created_at) VALUES ('{person}', now());
INSERT INTO data.tombstones (user_id, erased_at, erased) VALUES ('{person}', now(), '{}');
INSERT INTO data.conversation_counters (user_id, last_number) VALUES ('{person}', {rows});
INSERT INTO data.conversations (user_id, id, number, sender_type, message_text, key_id, created_at, updated_at)
    SELECT '{person}', gen_random_uuid(), number, 'user', 'gAAAA', 'test-1', now(), now()
    FROM generate_series(1, {rows}) AS number;
INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
    SELECT '{person}', gen_random_uuid(), 'AppendMessage', sha256('{name}'), '{}', now()
    FROM generate_series(1, {rows});
INSERT INTO data.analysis_jobs (user_id, id, first_number, last_number, requested, priority, start_after, created_at)
    SELECT '{person}', gen_random_uuid(), number, number, false, 0, now(), now()
    FROM generate_series(1, {rows}) AS number;
-- The second job of a person with two jobs is leased.
UPDATE data.analysis_jobs SET state = 'leased', attempts = 1, lease_token = '018f0000-0000-7000-8000-0000000000ee',
        lease_holder = 'worker', lease_expires_at = now() + interval '9 minutes'
    WHERE user_id = '{person}' AND last_number = 2;
INSERT INTO data.analysis_results
    (user_id, id, analysis_type, chat_score, first_number, last_number, details, key_id, created_at)
    SELECT user_id, id, 'chat_scoring', 70, first_number, last_number, 'gAAAA', 'test-1', now()
    FROM data.analysis_jobs WHERE user_id = '{person}';
INSERT INTO data.crisis_events
    (user_id, id, message_id, trigger_type, severity_level, resources_shown, followup_required, created_at)
    SELECT user_id, gen_random_uuid(), id, 'suicide', 'critical', '{find_a_helpline}', true, now()
    FROM data.conversations WHERE user_id = '{person}';

-- Devices with a key that was rotated once, rows encrypted with the current key, and nonces used with the previous key.
INSERT INTO data.change_counters (user_id, last_number, live_devices, devices) VALUES ('{person}', 1000, {rows}, {rows});
INSERT INTO data.device_key (user_id, id, device_id_hash, encrypted_master_key, key_derivation_path, key_version,
        next_rotation_at, platform, app_version, last_active_at, created_at, encrypted_label)
    SELECT '{person}', gen_random_uuid(), sha256(('{name}' || number)::bytea), sha256('{name}'), 'm/0', 2,
        now() + interval '90 days', 'ios', '1.0', now(), now(), sha256('{name}')
    FROM generate_series(1, {rows}) AS number;
INSERT INTO data.security_audit_log (user_id, event, subject_id, occurred_at)
    SELECT user_id, 'device_registered', id, now() FROM data.device_key WHERE user_id = '{person}';
INSERT INTO data.envelope_nonces
    (user_id, key_id, key_version, nonce, content_digest, outcome, version, change_number, used_at)
    SELECT user_id, id, 1, substr(sha256('{name}'), 1, 12), sha256('{name}'), 'applied', 1, 1, now()
    FROM data.device_key WHERE user_id = '{person}';
INSERT INTO data.encrypted_cycle_data (user_id, id, encrypted_payload, envelope_version, algorithm, key_id, key_version,
        nonce, salt, kdf_memory_kib, kdf_iterations, kdf_parallelism, associated_data_version, version, device_id,
        local_timestamp, change_number, open_conflicts, created_at, updated_at)
    SELECT user_id, gen_random_uuid(), sha256('{name}'), 1, 'aes_256_gcm', id, 2, substr(sha256('{name}'), 1, 12),
        sha256(''), 19456, 2, 1, 1, 1, id, now(), row_number() OVER (), 1, now(), now()
    FROM data.device_key WHERE user_id = '{person}';
INSERT INTO data.cycle_data_conflicts (user_id, id, record_id, base_version, encrypted_payload, envelope_version, algorithm,
        key_id, key_version, nonce, salt, kdf_memory_kib, kdf_iterations, kdf_parallelism, associated_data_version,
        device_id, local_timestamp, change_number, created_at)
    SELECT user_id, gen_random_uuid(), id, 0, encrypted_payload, 1, algorithm, key_id, key_version, nonce, salt,
        kdf_memory_kib, kdf_iterations, kdf_parallelism, 1, device_id, now(), change_number + 100, now()
    FROM data.encrypted_cycle_data WHERE user_id = '{person}';
INSERT INTO data.purged_records (user_id, id) SELECT '{person}', gen_random_uuid() FROM generate_series(1, {rows});
INSERT INTO data.encrypted_user_prefs (user_id, encrypted_payload, envelope_version, algorithm, key_id, key_version, nonce,
        salt, kdf_memory_kib, kdf_iterations, kdf_parallelism, associated_data_version, version, device_id, created_at,
        updated_at)
    SELECT user_id, encrypted_payload, 1, algorithm, key_id, key_version, nonce, salt, kdf_memory_kib, kdf_iterations,
        kdf_parallelism, 1, 1, device_id, now(), now()
    FROM data.encrypted_cycle_data WHERE user_id = '{person}' LIMIT 1;
INSERT INTO data.healthcare_share (user_id, id, encrypted_payload, envelope_version, algorithm, key_id, key_version, nonce,
        salt, kdf_memory_kib, kdf_iterations, kdf_parallelism, associated_data_version, passcode_hash, expires_at,
        max_access_count, created_at)
    SELECT user_id, id, encrypted_payload, 1, algorithm, id, 1, nonce, salt, kdf_memory_kib, kdf_iterations,
        kdf_parallelism, 1, '$argon2id$v=19$not-a-hash', now() + interval '1 day', 1, now()
    FROM data.encrypted_cycle_data WHERE user_id = '{person}';
INSERT INTO data.share_token (user_id, share_id, token_hash)
    SELECT user_id, id, sha256(id::text::bytea) FROM data.healthcare_share WHERE user_id = '{person}';
INSERT INTO data.healthcare_share_audit (user_id, share_id, accessed_at, device_type, outcome)
    SELECT user_id, id, now(), 'mobile', 'opened' FROM data.healthcare_share WHERE user_id = '{person}';
INSERT INTO data.sync_epochs (number, began_at) SELECT coalesce(max(number), 0) + 1, now() FROM data.sync_epochs;
INSERT INTO data.erasures (user_id, erased) VALUES ('{person}', '{}');
