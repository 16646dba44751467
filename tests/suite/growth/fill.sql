-- Rows of the people {from} to {to}, one of each person in every table, without triggers. People below {callers} call, each one
-- statement; the others are the rest of the world. The id of a person is also the id of each of the person's rows. None of the rows is
-- due: no sweep deletes one, and no worker gets one. state chooses the state of a row: callers have the first of each.
SET session_replication_role = replica;
CREATE TEMPORARY TABLE person AS
    SELECT n, CASE WHEN n >= {callers} THEN n ELSE 0 END AS state, sha256(n::text::bytea) AS hash, n || '@example.org' AS email,
        ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid AS id
    FROM generate_series({from}, {to}) AS n;
-- Erased people have ids of their own.
CREATE TEMPORARY TABLE erased AS
    SELECT n, ('eeeeeeee-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid AS id, hash FROM person;

INSERT INTO identity.users (id, email, email_canonical, password_hash, goals, created_at, updated_at)
    SELECT id, email, email, '$argon2id$not-a-hash', '{make_friends}', now(), now() FROM person;
INSERT INTO identity.consents (user_id, id, document, document_version, granted_at)
    SELECT id, id, 'terms', '2026-01', now() FROM person;
-- A third of the sessions is active, a third ended yesterday, and a third began long ago and is still refreshed.
INSERT INTO identity.sessions (user_id, id, issued_at, refreshed_at, expires_at, refresh_expires_at, ended_at, end_reason)
    SELECT id, id, CASE state % 3 WHEN 2 THEN now() - interval '100 days' ELSE now() - interval '2 days' END, now(),
        now() + interval '1 hour', now() + interval '30 days',
        CASE state % 3 WHEN 1 THEN now() - interval '1 day' END, CASE state % 3 WHEN 1 THEN 'signed_out' END
    FROM person;
INSERT INTO identity.refresh_tokens (user_id, id, session_id, token_hash, issued_at, expires_at)
    SELECT id, id, id, hash, now() - interval '2 days', now() + interval '30 days' FROM person;
INSERT INTO identity.device_tokens (user_id, id, token_hash, issued_at, expires_at)
    SELECT id, id, hash, now(), now() + interval '90 days' FROM person;
-- Half of the tokens can be used, and half were used and expired yesterday: those are kept for a week.
INSERT INTO identity.recovery_tokens (user_id, id, kind, token_hash, issued_at, expires_at, spent_at)
    SELECT id, id, 'password_reset', hash, now() - interval '2 days',
        now() + CASE state % 2 WHEN 0 THEN interval '1 hour' ELSE interval '-1 day' END,
        CASE state % 2 WHEN 1 THEN now() - interval '30 hours' END
    FROM person;
INSERT INTO identity.ended_sessions (digest, id, expires_at) SELECT hash, id, now() + interval '1 hour' FROM person WHERE n >= {callers};
INSERT INTO identity.rate_limits (key, tat, emission, tolerance, admitted)
    SELECT hash, now() + interval '1 hour', interval '6 s', interval '2 hours', true FROM person;
INSERT INTO identity.failures (key, count, not_before) SELECT hash, 1, now() FROM person;
INSERT INTO identity.security_audit_log (user_id, number, event, refused, occurred_at, digest)
    SELECT id, 1, 'sign_in', false, now(), hash FROM person;
INSERT INTO identity.audit_chains (user_id, trimmed_number, trimmed_digest, last_number, last_digest)
    SELECT id, 0, hash, 1, hash FROM person;
INSERT INTO identity.erasures (user_id, request_id, requested_at, erased, data_erased, completed_at, audit_digest, sign_up_digest)
    SELECT id, id, now(), '{"identity.users": 1}', '{"data.users": 1}', now(), hash, hash FROM erased;
INSERT INTO identity.requests (user_id, id, method, payload_mac, answer, created_at)
    SELECT id, id, 'SignIn', hash, '{}', now() FROM person;
-- Messages that data did not take, and that wait.
INSERT INTO identity.outbox (user_id, id, kind, attempts, next_attempt_at, created_at)
    SELECT id, id, 'provision_user', 3, now() + interval '1 hour', now() - interval '1 hour' FROM person;

INSERT INTO data.users (id, created_at) SELECT id, now() FROM person;
INSERT INTO data.tombstones (user_id, erased_at, erased) SELECT id, now(), '{"data.users": 1}' FROM erased;
INSERT INTO data.erasures (user_id, erased) SELECT id, '{}' FROM erased;
INSERT INTO data.usage_counters (user_id, messages, records) SELECT id, 1, 1 FROM person;
INSERT INTO data.conversation_counters (user_id, last_number) SELECT id, 1 FROM person;
INSERT INTO data.conversations (user_id, id, number, sender_type, message_text, key_id, created_at, updated_at)
    SELECT id, id, 1, 'user', 'gAAAA', 'test-1', now(), now() FROM person;
INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
    SELECT id, id, 'AppendMessage', hash, '{}', now() FROM person;
-- Of ten jobs four are queued and not due, two of them with the high priority; two are leased, two dead, and two done.
INSERT INTO data.analysis_jobs (user_id, id, first_number, last_number, requested, priority, start_after, state, attempts,
        lease_digest, lease_holder, lease_expires_at, finished_at, created_at)
    SELECT id, id, 1, 1, false, person.state % 2,
        CASE WHEN job.state = 'queued' THEN now() + interval '1 hour' ELSE now() END, job.state, 1,
        CASE job.state WHEN 'leased' THEN sha256(uuid_send(id)) END, CASE job.state WHEN 'leased' THEN 'worker' END,
        CASE job.state WHEN 'leased' THEN now() + interval '1 hour' END,
        CASE WHEN job.state IN ('dead', 'done') THEN now() END, now()
    FROM person, LATERAL (SELECT (ARRAY['leased', 'queued', 'dead', 'queued', 'done'])[person.state / 2 % 5 + 1] AS state) AS job;
INSERT INTO data.analysis_results
    (user_id, id, analysis_type, chat_score, first_number, last_number, details, key_id, created_at)
    SELECT id, id, 'chat_scoring', 70, 1, 1, 'gAAAA', 'test-1', now() FROM person;
-- Half of the events wait for a number.
INSERT INTO data.crisis_events
    (user_id, id, message_id, trigger_type, severity_level, resources_shown, followup_required, created_at, number)
    SELECT id, id, id, 'suicide', 'critical', '{find_a_helpline}', true, now(), CASE state % 2 WHEN 0 THEN n + 1 END FROM person;
UPDATE data.crisis_feed SET last_number = {to} + 1;

INSERT INTO data.change_counters (user_id, last_number, live_devices, devices) SELECT id, 1000, 1, 1 FROM person;
INSERT INTO data.device_key (user_id, id, device_id_hash, encrypted_master_key, key_derivation_path, key_version,
        next_rotation_at, platform, app_version, last_active_at, created_at, encrypted_label, epoch)
    SELECT id, id, hash, hash, 'm/0', 2, now() + interval '90 days', 'ios', '1.0', now(), now(), hash, (SELECT data.sync_epoch())
    FROM person;
INSERT INTO data.security_audit_log (user_id, id, event, subject_id, occurred_at)
    SELECT id, id, 'device_registered', id, now() FROM person;
INSERT INTO data.envelope_nonces
    (user_id, key_id, key_version, nonce, content_digest, outcome, version, change_number, used_at)
    SELECT id, id, 1, substr(hash, 1, 12), hash, 'applied', 1, 1, now() FROM person;
INSERT INTO data.encrypted_cycle_data (user_id, id, encrypted_payload, envelope_version, algorithm, key_id, key_version,
        nonce, salt, kdf_memory_kib, kdf_iterations, kdf_parallelism, associated_data_version, version, device_id,
        local_timestamp, change_number, open_conflicts, created_at, updated_at)
    SELECT id, id, hash, 1, 'aes_256_gcm', id, 1, substr(hash, 1, 12), substr(hash, 1, 16), 19456, 2, 1, 1, 1, id, now(), 2, 1, now(),
        now()
    FROM person;
-- A deleted record, which not every device has acknowledged, and a settled conflict.
INSERT INTO data.encrypted_cycle_data (user_id, id, version, device_id, local_timestamp, change_number, open_conflicts,
        created_at, updated_at, deleted_at)
    SELECT id, ('00000000-0000-7000-9000-' || lpad(to_hex(n), 12, '0'))::uuid, 2, id, now(), 500, 0, now(), now(), now() FROM person;
INSERT INTO data.cycle_data_conflicts (user_id, id, record_id, base_version, encrypted_payload, envelope_version, algorithm,
        key_id, key_version, nonce, salt, kdf_memory_kib, kdf_iterations, kdf_parallelism, associated_data_version,
        device_id, local_timestamp, change_number, created_at, settled_at)
    SELECT id, CASE settled WHEN 0 THEN id ELSE ('00000000-0000-7000-9000-' || lpad(to_hex(n), 12, '0'))::uuid END, id, 0, hash, 1,
        'aes_256_gcm', id, 1, substr(hash, 1, 12), substr(hash, 1, 16), 19456, 2, 1, 1, id, now(), 100 + settled, now(),
        CASE settled WHEN 1 THEN now() END
    FROM person, generate_series(0, 1) AS settled;
INSERT INTO data.purged_records (user_id, id) SELECT id, id FROM erased;
INSERT INTO data.encrypted_user_prefs (user_id, encrypted_payload, envelope_version, algorithm, key_id, key_version, nonce,
        salt, kdf_memory_kib, kdf_iterations, kdf_parallelism, associated_data_version, version, device_id, created_at,
        updated_at)
    SELECT id, hash, 1, 'aes_256_gcm', id, 1, substr(hash, 1, 12), substr(hash, 1, 16), 19456, 2, 1, 1, 1, id, now(), now()
    FROM person;
-- Half of the shares are open, and half ended an hour ago.
INSERT INTO data.healthcare_share (user_id, id, encrypted_payload, envelope_version, algorithm, key_id, key_version, nonce,
        salt, kdf_memory_kib, kdf_iterations, kdf_parallelism, associated_data_version, expires_at, max_access_count, created_at)
    SELECT id, id, hash, 1, 'aes_256_gcm', id, 1, substr(hash, 1, 12), substr(hash, 1, 16), 19456, 2, 1, 1,
        now() + interval '1 day', 10, now()
    FROM person WHERE state % 2 = 0;
INSERT INTO data.healthcare_share (user_id, id, expires_at, max_access_count, created_at, ended_at)
    SELECT id, id, now() - interval '1 hour', 10, now() - interval '1 day', now() - interval '1 hour' FROM person WHERE state % 2 = 1;
INSERT INTO data.share_token (user_id, share_id, token_hash) SELECT id, id, hash FROM person;
INSERT INTO data.healthcare_share_audit (user_id, share_id, id, accessed_at, device_type, outcome)
    SELECT id, id, id, now(), 'mobile', 'opened' FROM person;
DROP TABLE person, erased;
SET session_replication_role = origin;
