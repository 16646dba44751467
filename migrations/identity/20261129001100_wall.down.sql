SET LOCAL row_security = off;

ALTER POLICY outbox_service_update ON identity.outbox WITH CHECK (true);
ALTER POLICY refresh_tokens_user_insert ON identity.refresh_tokens WITH CHECK (user_id = (SELECT auth.uid()));
ALTER POLICY sessions_user_update ON identity.sessions WITH CHECK (user_id = (SELECT auth.uid()));
ALTER POLICY sessions_user_insert ON identity.sessions WITH CHECK (user_id = (SELECT auth.uid()));

DROP TRIGGER consents_withdrawn_at_once ON identity.consents;
DROP TRIGGER sessions_ended_at_once ON identity.sessions;
DROP TRIGGER refresh_tokens_used_at_once ON identity.refresh_tokens;
DROP TRIGGER erasures_completed_at_once ON identity.erasures;
DROP TRIGGER recovery_tokens_opened_at_once ON identity.recovery_tokens;
DROP TRIGGER recovery_tokens_spent_at_once ON identity.recovery_tokens;
DROP TRIGGER users_erased_at_once ON identity.users;
DROP FUNCTION identity.refuse_second_time();

CREATE OR REPLACE FUNCTION identity.end_sessions(chosen uuid, spared uuid, reason text, at timestamptz)
    RETURNS TABLE (session_id uuid)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    RETURN QUERY
        WITH ended AS (
            UPDATE identity.sessions AS s SET ended_at = end_sessions.at, end_reason = end_sessions.reason
            WHERE s.user_id = auth.uid() AND s.ended_at IS NULL
                AND (end_sessions.chosen IS NULL OR s.id = end_sessions.chosen)
                AND (end_sessions.spared IS NULL OR s.id <> end_sessions.spared)
            RETURNING s.id, s.expires_at
        ), made_known AS (
            INSERT INTO identity.ended_sessions (id, expires_at) SELECT e.id, e.expires_at FROM ended AS e
        )
        SELECT e.id FROM ended AS e;
    IF end_sessions.reason = 'password_changed' THEN
        DELETE FROM identity.device_tokens AS d WHERE d.user_id = auth.uid();
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION identity.end_oldest_sessions(begun uuid, maximum integer, at timestamptz) RETURNS TABLE (session_id uuid)
    LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    person CONSTANT uuid := auth.uid();
BEGIN
    RETURN QUERY
        WITH ended AS (
            UPDATE identity.sessions AS s SET ended_at = end_oldest_sessions.at, end_reason = 'too_many'
            WHERE s.user_id = person AND s.ended_at IS NULL AND s.id IN (
                SELECT o.id FROM identity.sessions AS o
                WHERE o.user_id = person AND o.ended_at IS NULL AND o.id <> end_oldest_sessions.begun
                ORDER BY coalesce(o.refreshed_at, o.issued_at) DESC, o.id DESC
                OFFSET greatest(end_oldest_sessions.maximum - 1, 0)
            )
            RETURNING s.id, s.expires_at
        ), made_known AS (
            INSERT INTO identity.ended_sessions (id, expires_at) SELECT e.id, e.expires_at FROM ended AS e
        )
        SELECT e.id FROM ended AS e;
    DELETE FROM identity.sessions AS s
        WHERE s.user_id = person AND s.id IN (
            SELECT o.id FROM identity.sessions AS o WHERE o.user_id = person AND o.ended_at IS NOT NULL
            ORDER BY o.ended_at DESC OFFSET 100 LIMIT 100
        );
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

-- Two people's sessions of one id are one row again, for as long as the longer one.
DROP INDEX identity.ended_sessions_id_idx;
ALTER TABLE identity.ended_sessions NO FORCE ROW LEVEL SECURITY;
DELETE FROM identity.ended_sessions AS e USING identity.ended_sessions AS o
    WHERE o.id = e.id AND (o.expires_at, o.digest) > (e.expires_at, e.digest);
ALTER TABLE identity.ended_sessions
    FORCE ROW LEVEL SECURITY,
    DROP CONSTRAINT ended_sessions_pkey,
    DROP COLUMN digest,
    ADD CONSTRAINT ended_sessions_pkey PRIMARY KEY (id);
DROP FUNCTION identity.session_digest(uuid, uuid);

SET LOCAL row_security = on;
