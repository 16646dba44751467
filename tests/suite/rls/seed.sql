-- One person, in every table. Run by the superuser, once for each person; {person}, {name} and {rows} are
-- filled in. People differ in how many rows they have where they may have several, so that a count says whose
-- rows it counted.
INSERT INTO identity.users (id, email, email_canonical, password_hash, goals, created_at, updated_at)
    VALUES ('{person}', '{name}@example.com', '{name}@example.com', '$argon2id$not-a-hash', '{make_friends}',
        now(), now());
INSERT INTO identity.consents (user_id, id, document, document_version, granted_at)
    SELECT '{person}', gen_random_uuid(), 'terms', '2026-01', now() FROM generate_series(1, {rows});
INSERT INTO identity.sessions (user_id, id, issued_at, expires_at)
    SELECT '{person}', gen_random_uuid(), now(), now() + interval '1 hour' FROM generate_series(1, {rows});
INSERT INTO identity.requests (user_id, id, method, payload_mac, answer, created_at)
    SELECT '{person}', gen_random_uuid(), CASE number WHEN 1 THEN 'SignUp' ELSE 'SignIn' END, sha256('{name}'),
        '{}', now()
    FROM generate_series(1, {rows}) AS number;
INSERT INTO identity.outbox (user_id, id, kind, next_attempt_at, created_at)
    SELECT '{person}', gen_random_uuid(), 'provision_user', now(), now() FROM generate_series(1, {rows});

INSERT INTO data.users (id, created_at) VALUES ('{person}', now());
INSERT INTO data.conversation_counters (user_id, last_number) VALUES ('{person}', {rows});
INSERT INTO data.conversations (user_id, id, number, sender_type, message_text, key_id, created_at, updated_at)
    SELECT '{person}', gen_random_uuid(), number, 'user', 'gAAAA', 'test-1', now(), now()
    FROM generate_series(1, {rows}) AS number;
INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
    SELECT '{person}', gen_random_uuid(), 'AppendMessage', sha256('{name}'), '{}', now()
    FROM generate_series(1, {rows});
