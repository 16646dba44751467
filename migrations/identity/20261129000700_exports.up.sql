-- oldest_binary: 20261129000400
SET LOCAL row_security = off;

-- Exports -------------------------------------------------------------------------------------------------------------------

-- When the password was changed. A password that was never changed was set when the account was created: its version is 1. A
-- trigger sets it, so that no program that changes a password can forget to.
ALTER TABLE identity.users ADD COLUMN password_changed_at timestamptz;
GRANT SELECT (password_changed_at) ON identity.users TO identity_user;

CREATE FUNCTION identity.note_password_change() RETURNS trigger
    LANGUAGE plpgsql SECURITY INVOKER SET search_path = ''
    AS $$
BEGIN
    NEW.password_changed_at := NEW.updated_at;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION identity.note_password_change() IS 'Stores the time of a change of the password.';
CREATE TRIGGER users_password_change BEFORE UPDATE OF password_version ON identity.users
    FOR EACH ROW WHEN (NEW.password_version IS DISTINCT FROM OLD.password_version)
    EXECUTE FUNCTION identity.note_password_change();

-- A person reads the times of their own device tokens, and not the hashes.
GRANT SELECT (user_id, id, issued_at, expires_at) ON identity.device_tokens TO identity_user;
CREATE POLICY device_tokens_user_select ON identity.device_tokens FOR SELECT TO identity_user
    USING (user_id = (SELECT auth.uid()));

ALTER TABLE identity.security_audit_log
    DROP CONSTRAINT security_audit_log_event_check,
    ADD CONSTRAINT security_audit_log_event_check CHECK (event IN (
        'sign_up', 'sign_in', 'sign_out', 'password_change', 'token_reuse', 'consent_grant', 'consent_withdraw',
        'stage', 'deletion', 'account_export'
    ));

-- Late copies of a sign-up --------------------------------------------------------------------------------------------------

-- The request id of the sign-up outlives the account for a week, as request ids do, so that a late copy of the sign-up makes no
-- other account. Only its digest is stored: a client may have made the id from something that names the person.
ALTER TABLE identity.erasures
    ADD COLUMN sign_up_digest bytea,
    ADD CONSTRAINT erasures_sign_up_digest_check CHECK (octet_length(sign_up_digest) = 32);
CREATE INDEX erasures_sign_up_digest_idx ON identity.erasures (sign_up_digest) WHERE sign_up_digest IS NOT NULL;
CREATE INDEX erasures_requested_at_idx ON identity.erasures (requested_at) WHERE sign_up_digest IS NOT NULL;

-- For the function below alone, and no wider than the row that it has named, as with find_credential.
CREATE POLICY erasures_find_sign_up ON identity.erasures FOR SELECT TO identity_owner
    USING (sign_up_digest = (SELECT decode(nullif(current_setting('identity.wanted_sign_up_digest', true), ''), 'hex')));

CREATE FUNCTION identity.is_erased_sign_up(request_id uuid) RETURNS boolean
    LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    digest CONSTANT bytea := sha256(uuid_send(is_erased_sign_up.request_id));
    erased boolean;
BEGIN
    PERFORM set_config('identity.wanted_sign_up_digest', encode(digest, 'hex'), true);
    erased := EXISTS (SELECT FROM identity.erasures AS e WHERE e.sign_up_digest = digest);
    PERFORM set_config('identity.wanted_sign_up_digest', '', true);
    RETURN erased;
END
$$;
COMMENT ON FUNCTION identity.is_erased_sign_up(uuid) IS
    'Whether a sign-up with this request id made an account that was erased within the last week.';
GRANT EXECUTE ON FUNCTION identity.is_erased_sign_up(uuid) TO identity_anon;

-- After the statement, which has waited by then for a deletion that frees the address and the request id: the check sees that
-- deletion. A check before the statement would not.
CREATE FUNCTION identity.refuse_erased_sign_up() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    IF identity.is_erased_sign_up(NEW.id) THEN
        RAISE unique_violation USING MESSAGE = 'the account of this sign-up was erased',
            CONSTRAINT = 'erasures_sign_up_digest';
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION identity.refuse_erased_sign_up() IS 'Fails for a sign-up whose account was erased.';
CREATE TRIGGER requests_erased_sign_up AFTER INSERT ON identity.requests
    FOR EACH ROW WHEN (NEW.method = 'SignUp') EXECUTE FUNCTION identity.refuse_erased_sign_up();

-- As before, without accounts that are being erased in batches, which have no hash.
CREATE OR REPLACE FUNCTION identity.find_sign_up(request_id uuid)
    RETURNS TABLE (user_id uuid, payload_mac bytea, answer jsonb, password_hash text)
    LANGUAGE plpgsql VOLATILE STRICT ROWS 1 SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    sign_up record;
BEGIN
    PERFORM set_config('identity.wanted_sign_up', find_sign_up.request_id::text, true);
    SELECT r.user_id, r.payload_mac, r.answer INTO sign_up FROM identity.requests r
        WHERE r.id = find_sign_up.request_id AND r.method = 'SignUp';
    PERFORM set_config('identity.wanted_sign_up', '', true);
    IF sign_up.user_id IS NOT NULL THEN
        PERFORM set_config('identity.wanted_user', sign_up.user_id::text, true);
        RETURN QUERY
            SELECT u.id, sign_up.payload_mac, sign_up.answer, u.password_hash FROM identity.users u
            WHERE u.id = sign_up.user_id AND u.erased_at IS NULL;
        PERFORM set_config('identity.wanted_user', '', true);
    END IF;
END
$$;

-- As before, and with the digest of the sign-up.
CREATE OR REPLACE FUNCTION identity.erase_account(
    request_id uuid, spared_session uuid, service text, network_mac bytea, message_id uuid, lease_until timestamptz,
    at timestamptz
) RETURNS TABLE (session_id uuid)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    person CONSTANT uuid := auth.uid();
    few CONSTANT bigint := 2000;
    relation record;
    found_rows bigint;
    total bigint := 0;
    counts jsonb := jsonb_build_object('identity.users', 1);
    ended uuid[];
    last_digest bytea;
    sign_up_digest bytea;
BEGIN
    PERFORM FROM identity.users AS u WHERE u.id = person AND u.erased_at IS NULL FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT sha256(uuid_send(r.id)) INTO sign_up_digest FROM identity.requests AS r
        WHERE r.user_id = person AND r.method = 'SignUp';
    FOR relation IN SELECT t.name FROM identity.person_tables() AS t LOOP
        EXECUTE format('SELECT count(*) FROM (SELECT FROM %s WHERE user_id = $1 LIMIT $2) AS rows', relation.name)
            INTO found_rows USING person, few + 1 - total;
        total := total + found_rows;
        EXIT WHEN total > few;
    END LOOP;
    IF total > few THEN
        -- The sessions themselves are deleted later. Only those are made known that may have an access token.
        ended := array(
            SELECT s.id FROM identity.sessions AS s
            WHERE s.user_id = person AND s.ended_at IS NULL AND s.expires_at > now() - interval '10 minutes'
                AND s.id IS DISTINCT FROM erase_account.spared_session
        );
        INSERT INTO identity.ended_sessions (id, expires_at)
            SELECT s.id, s.expires_at FROM identity.sessions AS s WHERE s.user_id = person AND s.id = ANY (ended)
            ON CONFLICT (id) DO NOTHING;
    ELSE
        ended := array(
            SELECT e.session_id
            FROM identity.end_sessions(NULL, erase_account.spared_session, 'account_deleted', erase_account.at) AS e
        );
    END IF;
    PERFORM identity.append_audit_event('deletion', false, erase_account.service, erase_account.spared_session,
        erase_account.network_mac, erase_account.at);
    SELECT c.last_digest INTO STRICT last_digest FROM identity.audit_chains AS c WHERE c.user_id = person;
    IF total > few THEN
        counts := '{}';
        DELETE FROM identity.device_tokens AS d WHERE d.user_id = person;
        GET DIAGNOSTICS found_rows = ROW_COUNT;
        counts := counts || jsonb_build_object('identity.device_tokens', found_rows);
        DELETE FROM identity.outbox AS o WHERE o.user_id = person;
        GET DIAGNOSTICS found_rows = ROW_COUNT;
        counts := counts || jsonb_build_object('identity.outbox', found_rows);
        UPDATE identity.users AS u
            SET erased_at = erase_account.at, email = NULL, email_canonical = NULL, password_hash = NULL
            WHERE u.id = person;
    ELSE
        FOR relation IN SELECT t.name FROM identity.person_tables() AS t LOOP
            EXECUTE format('SELECT count(*) FROM %s WHERE user_id = $1', relation.name) INTO found_rows USING person;
            counts := counts || jsonb_build_object(relation.name, found_rows);
        END LOOP;
        DELETE FROM identity.outbox AS o WHERE o.user_id = person;
        DELETE FROM identity.users AS u WHERE u.id = person;
    END IF;
    INSERT INTO identity.erasures (user_id, request_id, service, requested_at, erased, audit_digest, has_rows, sign_up_digest)
        VALUES (person, erase_account.request_id, erase_account.service, erase_account.at, counts, last_digest,
            total > few, sign_up_digest);
    INSERT INTO identity.outbox (user_id, id, kind, attempts, next_attempt_at, created_at)
        VALUES (person, erase_account.message_id, 'erase_user', 1, erase_account.lease_until, erase_account.at);
    RETURN QUERY SELECT unnest(ended);
END
$$;

-- As before; and a digest of a sign-up is forgotten after a week, whatever the retention of counts is.
CREATE POLICY erasures_forget_sign_up ON identity.erasures FOR UPDATE TO identity_owner
    USING ((SELECT current_setting('identity.trimming', true)) = 'on' AND requested_at < now() - interval '7 days')
    WITH CHECK ((SELECT current_setting('identity.trimming', true)) = 'on' AND sign_up_digest IS NULL);
CREATE OR REPLACE FUNCTION identity.trim_receipts(retention interval, batch integer) RETURNS bigint
    LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    trimmed bigint;
    forgotten bigint;
BEGIN
    PERFORM set_config('identity.trimming', 'on', true);
    UPDATE identity.erasures AS e SET erased = '{}', data_erased = '{}'
        WHERE e.user_id IN (
            SELECT o.user_id FROM identity.erasures AS o
            WHERE o.completed_at < now() - greatest(trim_receipts.retention, interval '1 day')
                AND (o.erased <> '{}' OR o.data_erased <> '{}')
            LIMIT trim_receipts.batch FOR UPDATE SKIP LOCKED
        );
    GET DIAGNOSTICS trimmed = ROW_COUNT;
    UPDATE identity.erasures AS e SET sign_up_digest = NULL
        WHERE e.user_id IN (
            SELECT o.user_id FROM identity.erasures AS o
            WHERE o.sign_up_digest IS NOT NULL AND o.requested_at < now() - interval '7 days'
            LIMIT trim_receipts.batch FOR UPDATE SKIP LOCKED
        );
    GET DIAGNOSTICS forgotten = ROW_COUNT;
    PERFORM set_config('identity.trimming', '', true);
    RETURN trimmed + forgotten;
END
$$;

SET LOCAL row_security = on;
