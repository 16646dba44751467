-- oldest_binary: 20261129000100
SET LOCAL row_security = off;

-- Reconciliation compares all people: the service reads every receipt, which has ids, times and counts.
DROP POLICY erasures_service_select ON identity.erasures;
CREATE POLICY erasures_service_select ON identity.erasures FOR SELECT TO identity_service USING (true);

-- Data does not know a person who has an account: it was restored to a time before the sign-up, or has locked the person.
-- It is to be told again. The lock keeps a deletion waiting, which then takes the message with it.
CREATE FUNCTION identity.provision_again(message_id uuid, at timestamptz) RETURNS boolean
    LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    person CONSTANT uuid := auth.uid();
BEGIN
    PERFORM FROM identity.users AS u WHERE u.id = person FOR KEY SHARE;
    IF NOT FOUND OR EXISTS (SELECT FROM identity.outbox AS o WHERE o.user_id = person) THEN
        RETURN false;
    END IF;
    INSERT INTO identity.outbox (user_id, id, kind, attempts, next_attempt_at, created_at)
        VALUES (person, provision_again.message_id, 'provision_user', 0, provision_again.at, provision_again.at);
    RETURN true;
END
$$;
COMMENT ON FUNCTION identity.provision_again(uuid, timestamptz) IS
    'Writes a message that makes data know the transaction''s person, unless there is a message. False: there is one, or no account.';
GRANT EXECUTE ON FUNCTION identity.provision_again(uuid, timestamptz) TO identity_service;

-- A person who was erased has an account again, or has no receipt, or has rows in data: something was restored to a time
-- before the erasure. The account goes as by DeleteAccount. Where there is none, a receipt is written, with the time of the
-- erasure and without counts, which are not known; its digest is that of no audit log. Data is told in both cases.
CREATE FUNCTION identity.erase_again(message_id uuid, service text, erased_at timestamptz, at timestamptz) RETURNS void
    LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    person CONSTANT uuid := auth.uid();
BEGIN
    IF person IS NULL THEN
        RAISE insufficient_privilege USING MESSAGE = 'a person to erase is required';
    END IF;
    -- Without an account the id is taken for a moment: a first sign-in with another provider waits for it, and then finds the
    -- receipt.
    INSERT INTO identity.users (id, goals, created_at, updated_at)
        VALUES (person, '{}', erase_again.at, erase_again.at) ON CONFLICT (id) DO NOTHING;
    IF FOUND THEN
        DELETE FROM identity.users AS u WHERE u.id = person;
    ELSE
        PERFORM FROM identity.erase_account(erase_again.message_id, NULL, erase_again.service, NULL, erase_again.message_id,
            erase_again.at, erase_again.at);
    END IF;
    INSERT INTO identity.erasures (user_id, request_id, service, requested_at, erased, audit_digest)
        VALUES (person, erase_again.message_id, erase_again.service, erase_again.erased_at, '{}', sha256(''))
        ON CONFLICT (user_id) DO NOTHING;
    IF NOT EXISTS (SELECT FROM identity.outbox AS o WHERE o.user_id = person AND o.kind = 'erase_user') THEN
        INSERT INTO identity.outbox (user_id, id, kind, attempts, next_attempt_at, created_at)
            VALUES (person, erase_again.message_id, 'erase_user', 0, erase_again.at, erase_again.at);
    END IF;
END
$$;
COMMENT ON FUNCTION identity.erase_again(uuid, text, timestamptz, timestamptz) IS
    'Erases the account of the transaction''s person, if there is one; keeps or writes the receipt; and writes a message to data.';
GRANT EXECUTE ON FUNCTION identity.erase_again(uuid, text, timestamptz, timestamptz) TO identity_service;

SET LOCAL row_security = on;
