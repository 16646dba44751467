SET LOCAL row_security = off;

DROP TRIGGER requests_erased_sign_up ON identity.requests;
CREATE OR REPLACE FUNCTION identity.trim_receipts(retention interval, batch integer) RETURNS bigint
    LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    trimmed bigint;
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
    PERFORM set_config('identity.trimming', '', true);
    RETURN trimmed;
END
$$;

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
BEGIN
    PERFORM FROM identity.users AS u WHERE u.id = person AND u.erased_at IS NULL FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
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
    INSERT INTO identity.erasures (user_id, request_id, service, requested_at, erased, audit_digest, has_rows)
        VALUES (person, erase_account.request_id, erase_account.service, erase_account.at, counts, last_digest,
            total > few);
    INSERT INTO identity.outbox (user_id, id, kind, attempts, next_attempt_at, created_at)
        VALUES (person, erase_account.message_id, 'erase_user', 1, erase_account.lease_until, erase_account.at);
    RETURN QUERY SELECT unnest(ended);
END
$$;

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
            WHERE u.id = sign_up.user_id;
        PERFORM set_config('identity.wanted_user', '', true);
    END IF;
END
$$;

DROP POLICY erasures_forget_sign_up ON identity.erasures;
DROP FUNCTION identity.refuse_erased_sign_up();
DROP FUNCTION identity.is_erased_sign_up(uuid);
DROP POLICY erasures_find_sign_up ON identity.erasures;
ALTER TABLE identity.erasures
    DROP CONSTRAINT erasures_sign_up_digest_check,
    DROP COLUMN sign_up_digest;

-- The program of that schema knows no exports. Events are a chain, from which none can be taken but the oldest: a log goes up to its
-- last export, as by retention. The rows are the owner's for these statements.
ALTER TABLE identity.security_audit_log NO FORCE ROW LEVEL SECURITY;
ALTER TABLE identity.audit_chains NO FORCE ROW LEVEL SECURITY;
UPDATE identity.audit_chains AS c SET trimmed_number = l.number, trimmed_digest = l.digest
    FROM identity.security_audit_log AS l
    WHERE l.user_id = c.user_id AND l.number = (
        SELECT max(e.number) FROM identity.security_audit_log AS e
        WHERE e.user_id = c.user_id AND e.event = 'account_export'
    );
DELETE FROM identity.security_audit_log AS l USING identity.audit_chains AS c
    WHERE c.user_id = l.user_id AND l.number <= c.trimmed_number;
ALTER TABLE identity.security_audit_log
    FORCE ROW LEVEL SECURITY,
    DROP CONSTRAINT security_audit_log_event_check,
    ADD CONSTRAINT security_audit_log_event_check CHECK (event IN (
        'sign_up', 'sign_in', 'sign_out', 'password_change', 'token_reuse', 'consent_grant', 'consent_withdraw',
        'stage', 'deletion'
    ));
ALTER TABLE identity.audit_chains FORCE ROW LEVEL SECURITY;

DROP POLICY device_tokens_user_select ON identity.device_tokens;
REVOKE SELECT (user_id, id, issued_at, expires_at) ON identity.device_tokens FROM identity_user;

DROP TRIGGER users_password_change ON identity.users;
DROP FUNCTION identity.note_password_change();
ALTER TABLE identity.users DROP COLUMN password_changed_at;

SET LOCAL row_security = on;
