-- Values in the exported columns that a person who has used everything leaves empty: rare states, and what only time or a worker
-- sets. The superuser runs it with {person} replaced.
UPDATE identity.users
    SET stage = 3, graduated_at = now(), last_active_at = now(), version = version + 1, password_version = password_version + 1,
        updated_at = now(), email_verified_at = now()
    WHERE id = '{person}';
UPDATE identity.consents SET withdrawn_at = now() WHERE user_id = '{person}' AND document = 'privacy';
UPDATE identity.sessions SET refreshed_at = issued_at + interval '1 minute', ended_at = now(), end_reason = 'too_many'
    WHERE user_id = '{person}' AND id = (
        SELECT id FROM identity.sessions WHERE user_id = '{person}' ORDER BY id DESC LIMIT 1
    );
UPDATE identity.refresh_tokens SET used_at = issued_at + interval '1 minute'
    WHERE user_id = '{person}' AND id = (
        SELECT id FROM identity.refresh_tokens WHERE user_id = '{person}' ORDER BY id DESC LIMIT 1
    );
-- A change of the address that took place and can be taken back, and a reset that was used.
INSERT INTO identity.recovery_tokens
    (user_id, id, kind, token_hash, email, email_canonical, change_id, opened_at, issued_at, expires_at, spent_at)
    VALUES ('{person}', gen_random_uuid(), 'email_undo', sha256('an undo'), 'old@example.org', 'old@example.org',
            gen_random_uuid(), now(), now(), now() + interval '7 days', NULL),
        ('{person}', gen_random_uuid(), 'password_reset', sha256('a reset'), NULL, NULL,
            NULL, NULL, now(), now() + interval '1 hour', now());
UPDATE identity.security_audit_log SET service = 'backend', refused = true WHERE user_id = '{person}' AND number = 2;

UPDATE data.analysis_results SET triggered_milestone = 'first_hello' WHERE user_id = '{person}';
UPDATE data.crisis_events SET acknowledged_at = now(), resolved_at = now() WHERE user_id = '{person}';
UPDATE data.device_key SET acknowledged_number = 2, encrypted_label = sha256('a label') WHERE user_id = '{person}';
UPDATE data.cycle_data_conflicts SET settled_at = now() WHERE user_id = '{person}' AND encrypted_payload IS NOT NULL;
UPDATE data.healthcare_share SET wrong_passcodes = 2 WHERE user_id = '{person}';
-- A second share, which was revoked, and has no content any more.
INSERT INTO data.healthcare_share (user_id, id, expires_at, max_access_count, created_at, revoked_at, ended_at)
    VALUES ('{person}', gen_random_uuid(), now() + interval '1 day', 1, now(), now(), now());
