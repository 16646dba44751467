SET LOCAL row_security = off;

DROP FUNCTION identity.import_account(
    text, text, timestamptz, text, text[], uuid[], text[], text[], timestamptz[], bytea[], uuid, text, bytea, timestamptz
);
DROP POLICY requests_own_insert ON identity.requests;
DROP POLICY consents_own_insert ON identity.consents;

-- The rows are the owner's for these statements. The program of that schema cannot check hashes of these forms: each is replaced
-- by one that no password matches, and its person resets the password.
ALTER TABLE identity.users NO FORCE ROW LEVEL SECURITY;
UPDATE identity.users
    SET password_hash = '$argon2id$v=19$m=19456,t=2,p=1$' || rtrim(encode(uuid_send(gen_random_uuid()), 'base64'), '=')
        || '$' || rtrim(encode(uuid_send(gen_random_uuid()), 'base64'), '=')
    WHERE password_hash !~ '^\$(argon2id|argon2i|scrypt|2a|2b|2y)\$';
ALTER TABLE identity.users
    FORCE ROW LEVEL SECURITY,
    DROP CONSTRAINT users_password_hash_check,
    ADD CONSTRAINT users_password_hash_check CHECK (password_hash ~ '^\$(argon2id|argon2i|scrypt|2a|2b|2y)\$');

-- Events are a chain, from which none can be taken but the oldest: a log goes up to its import, which is its first event.
ALTER TABLE identity.security_audit_log NO FORCE ROW LEVEL SECURITY;
ALTER TABLE identity.audit_chains NO FORCE ROW LEVEL SECURITY;
UPDATE identity.audit_chains AS c SET trimmed_number = l.number, trimmed_digest = l.digest
    FROM identity.security_audit_log AS l
    WHERE l.user_id = c.user_id AND l.number = (
        SELECT max(e.number) FROM identity.security_audit_log AS e
        WHERE e.user_id = c.user_id AND e.event = 'account_import'
    );
DELETE FROM identity.security_audit_log AS l USING identity.audit_chains AS c
    WHERE c.user_id = l.user_id AND l.number <= c.trimmed_number;
ALTER TABLE identity.security_audit_log FORCE ROW LEVEL SECURITY;
ALTER TABLE identity.audit_chains FORCE ROW LEVEL SECURITY;
DO $$
DECLARE
    later CONSTANT text := (
        SELECT pg_get_constraintdef(c.oid) FROM pg_constraint AS c
        WHERE c.conrelid = 'identity.security_audit_log'::regclass AND c.conname = 'security_audit_log_event_check'
    );
BEGIN
    ALTER TABLE identity.security_audit_log DROP CONSTRAINT security_audit_log_event_check;
    EXECUTE 'ALTER TABLE identity.security_audit_log ADD CONSTRAINT security_audit_log_event_check '
        || replace(replace(later, ', ''account_import''::text', ''), ' NOT VALID', '');
END
$$;

SET LOCAL row_security = on;
