-- oldest_binary: 20261129000400
SET LOCAL row_security = off;

-- Password hashes that other software made, in the forms that they are stored in until their people sign in.
ALTER TABLE identity.users
    DROP CONSTRAINT users_password_hash_check,
    ADD CONSTRAINT users_password_hash_check CHECK (
        password_hash ~ ('^\$(argon2id|argon2i|scrypt|2a|2b|2y|pbkdf2-sha256|pbkdf2-sha512|firebase-scrypt|wp|devise'
            '|django-bcrypt-sha256)\$')
    ) NOT VALID;

-- Adds to the events that the constraint lists.
DO $$
DECLARE
    earlier CONSTANT text := (
        SELECT pg_get_constraintdef(c.oid) FROM pg_constraint AS c
        WHERE c.conrelid = 'identity.security_audit_log'::regclass AND c.conname = 'security_audit_log_event_check'
    );
BEGIN
    ALTER TABLE identity.security_audit_log DROP CONSTRAINT security_audit_log_event_check;
    EXECUTE 'ALTER TABLE identity.security_audit_log ADD CONSTRAINT security_audit_log_event_check '
        || replace(replace(earlier, ']', ', ''account_import''::text]'), ' NOT VALID', '') || ' NOT VALID';
END
$$;

-- The function below makes one account: that of the transaction's person.
CREATE POLICY consents_own_insert ON identity.consents FOR INSERT TO identity_owner
    WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY requests_own_insert ON identity.requests FOR INSERT TO identity_owner
    WITH CHECK (user_id = (SELECT auth.uid()) AND id = user_id AND method = 'ImportAccounts');

-- All of an account or nothing: the account, its consents, the message to data, the audit event, and the request, by whose
-- content an import is recognized for a week. Later the account is recognized by its id and address.
--
-- `macs` are the keyed hashes of the row under each key of the ring; the first one is stored.
CREATE FUNCTION identity.import_account(
    email text, email_canonical text, email_verified_at timestamptz, password_hash text, goals text[],
    consent_ids uuid[], documents text[], document_versions text[], granted_at timestamptz[],
    macs bytea[], message_id uuid, service text, network_mac bytea, at timestamptz
) RETURNS text
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    person CONSTANT uuid := auth.uid();
    known record;
    earlier_mac bytea;
BEGIN
    INSERT INTO identity.users AS u
        (id, email, email_canonical, email_verified_at, password_hash, goals, created_at, updated_at)
        VALUES (person, import_account.email, import_account.email_canonical, import_account.email_verified_at,
            import_account.password_hash, import_account.goals, import_account.at, import_account.at)
        ON CONFLICT DO NOTHING;
    IF FOUND THEN
        -- After the insert, which waits for an erasure that is about to commit.
        IF EXISTS (SELECT FROM identity.erasures AS e WHERE e.user_id = person) THEN
            RAISE unique_violation USING MESSAGE = 'the account was erased', CONSTRAINT = 'erasures_pkey';
        END IF;
        INSERT INTO identity.consents (user_id, id, document, document_version, granted_at)
            SELECT person, c.id, c.document, c.document_version, c.granted_at
            FROM unnest(import_account.consent_ids, import_account.documents, import_account.document_versions,
                import_account.granted_at) AS c (id, document, document_version, granted_at);
        INSERT INTO identity.requests (user_id, id, method, payload_mac, answer, created_at)
            VALUES (person, person, 'ImportAccounts', import_account.macs[1], '{}', import_account.at);
        -- Due at once, and by the clock of the database, as all times of the outbox are.
        INSERT INTO identity.outbox (user_id, id, kind, attempts, next_attempt_at, created_at)
            VALUES (person, import_account.message_id, 'provision_user', 0, now(), import_account.at);
        PERFORM identity.append_audit_event('account_import', false, import_account.service, NULL,
            import_account.network_mac, import_account.at);
        RETURN 'created';
    END IF;
    SELECT u.email_canonical, u.erased_at INTO known FROM identity.users AS u WHERE u.id = person;
    IF NOT FOUND THEN
        RETURN 'email_taken';
    END IF;
    IF known.erased_at IS NOT NULL THEN
        RETURN 'erased';
    END IF;
    SELECT r.payload_mac INTO earlier_mac FROM identity.requests AS r
        WHERE r.user_id = person AND r.id = person AND r.method = 'ImportAccounts';
    IF FOUND THEN
        RETURN CASE WHEN earlier_mac = ANY (import_account.macs) THEN 'exists' ELSE 'differs' END;
    END IF;
    RETURN CASE WHEN known.email_canonical = import_account.email_canonical THEN 'exists' ELSE 'differs' END;
END
$$;
COMMENT ON FUNCTION identity.import_account(
    text, text, timestamptz, text, text[], uuid[], text[], text[], timestamptz[], bytea[], uuid, text, bytea, timestamptz
) IS
    'Makes the account of the transaction''s person. Or why not: exists, differs, email_taken, erased.';
GRANT EXECUTE ON FUNCTION identity.import_account(
    text, text, timestamptz, text, text[], uuid[], text[], text[], timestamptz[], bytea[], uuid, text, bytea, timestamptz
) TO identity_service;

SET LOCAL row_security = on;
