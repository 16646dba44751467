-- One person, in every table. Run by the superuser, once for each person; {person}, {name} and {rows} are
-- filled in. People differ in how many rows they have where they may have several, so that a count says whose
-- rows it counted.
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
INSERT INTO identity.ended_sessions (id, expires_at) VALUES (gen_random_uuid(), now() + interval '15 minutes');
INSERT INTO identity.rate_limits (key, tat, emission, tolerance, admitted)
    VALUES (sha256('{name}'), now(), interval '6 s', interval '54 s', true);
INSERT INTO identity.failures (key, count, not_before) VALUES (sha256('{name}'), 1, now());
INSERT INTO identity.security_audit_log (user_id, number, event, refused, occurred_at, digest)
    SELECT '{person}', number, 'sign_in', false, now(), sha256('{name}') FROM generate_series(1, {rows}) AS number;
INSERT INTO identity.audit_chains (user_id, trimmed_number, trimmed_digest, last_number, last_digest)
    VALUES ('{person}', 0, sha256(''), {rows}, sha256('{name}'));
INSERT INTO identity.erasures
    (user_id, request_id, requested_at, erased, data_erased, completed_at, audit_digest)
    VALUES ('{person}', gen_random_uuid(), now(), '{}', '{}', now(), sha256('{name}'));
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
-- Whoever has two jobs has one of them leased.
UPDATE data.analysis_jobs SET state = 'leased', attempts = 1, lease_token = '018f0000-0000-7000-8000-0000000000ee',
        lease_holder = 'worker', lease_expires_at = now() + interval '1 hour'
    WHERE user_id = '{person}' AND last_number = 2;
INSERT INTO data.analysis_results
    (user_id, id, analysis_type, chat_score, first_number, last_number, details, key_id, created_at)
    SELECT user_id, id, 'chat_scoring', 70, first_number, last_number, 'gAAAA', 'test-1', now()
    FROM data.analysis_jobs WHERE user_id = '{person}';
INSERT INTO data.crisis_events
    (user_id, id, message_id, trigger_type, severity_level, resources_shown, followup_required, created_at)
    SELECT user_id, gen_random_uuid(), id, 'suicide', 'critical', '{find_a_helpline}', true, now()
    FROM data.conversations WHERE user_id = '{person}';
