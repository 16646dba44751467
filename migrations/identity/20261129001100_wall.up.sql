-- oldest_binary: 20261129000400
SET LOCAL row_security = off;

-- Ended sessions -----------------------------------------------------------------------------------------------------------

-- Sessions are unique among those of their person, so the list of ended ones must be too. Keyed by the id alone, a person
-- with a session of another person's id could end it for both, and the other one's own end, also that by an erasure, violated
-- the key. The digest names both without telling the person: the list outlives an erasure.
CREATE FUNCTION identity.session_digest(person uuid, session uuid) RETURNS bytea
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = ''
    RETURN sha256(uuid_send(person) || uuid_send(session));
COMMENT ON FUNCTION identity.session_digest(uuid, uuid) IS
    'What ListEndedSessions and services that verify tokens compare: SHA-256 of the ids of the person and the session, 16 bytes each.';

-- Earlier programs list the ids and order by them, so the column and an index of it stay until no such program runs.
ALTER TABLE identity.ended_sessions
    DROP CONSTRAINT ended_sessions_pkey,
    ADD COLUMN digest bytea,
    NO FORCE ROW LEVEL SECURITY;
ALTER TABLE identity.sessions NO FORCE ROW LEVEL SECURITY;
UPDATE identity.ended_sessions AS e SET digest = identity.session_digest(s.user_id, s.id)
    FROM (
        SELECT DISTINCT ON (id) user_id, id FROM identity.sessions WHERE ended_at IS NOT NULL ORDER BY id, ended_at DESC
    ) AS s
    WHERE s.id = e.id;
-- Sessions of erased people: their person is not known. A digest of the id alone, which is no digest of a person and a
-- session, is compared too, until the last of these rows has expired.
UPDATE identity.ended_sessions AS e SET digest = sha256(uuid_send(e.id)) WHERE e.digest IS NULL;
ALTER TABLE identity.sessions FORCE ROW LEVEL SECURITY;
-- The table has the sessions that ended within about half an hour.
ALTER TABLE identity.ended_sessions
    FORCE ROW LEVEL SECURITY,
    -- squawk-ignore constraint-missing-not-valid, adding-serial-primary-key-field
    ADD CONSTRAINT ended_sessions_pkey PRIMARY KEY (digest),
    -- squawk-ignore constraint-missing-not-valid
    ADD CONSTRAINT ended_sessions_digest_check CHECK (octet_length(digest) = 32);
-- The table has the sessions that ended within about half an hour.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX ended_sessions_id_idx ON identity.ended_sessions (id);

-- As before, with the digest. A session that is in the list stays in it: DO NOTHING has no target, because the owner, who
-- sees expired rows only, could not insert with one.
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
            INSERT INTO identity.ended_sessions (digest, id, expires_at)
                SELECT identity.session_digest(auth.uid(), e.id), e.id, e.expires_at FROM ended AS e
                ON CONFLICT DO NOTHING
        )
        SELECT e.id FROM ended AS e;
    IF end_sessions.reason = 'password_changed' THEN
        DELETE FROM identity.device_tokens AS d WHERE d.user_id = auth.uid();
    END IF;
END
$$;

-- As before, with the digest.
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
            INSERT INTO identity.ended_sessions (digest, id, expires_at)
                SELECT identity.session_digest(person, e.id), e.id, e.expires_at FROM ended AS e
                ON CONFLICT DO NOTHING
        )
        SELECT e.id FROM ended AS e;
    DELETE FROM identity.sessions AS s
        WHERE s.user_id = person AND s.id IN (
            SELECT o.id FROM identity.sessions AS o WHERE o.user_id = person AND o.ended_at IS NOT NULL
            ORDER BY o.ended_at DESC OFFSET 100 LIMIT 100
        );
END
$$;

-- As before, with the digest.
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
        INSERT INTO identity.ended_sessions (digest, id, expires_at)
            SELECT identity.session_digest(person, s.id), s.id, s.expires_at FROM identity.sessions AS s
            WHERE s.user_id = person AND s.id = ANY (ended)
            ON CONFLICT DO NOTHING;
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

-- Times that are set once ---------------------------------------------------------------------------------------------------

-- A receipt that is complete, a token that was used, a session that ended: none of these is taken back or dated otherwise, by
-- no role of Haven and by no function. A superuser, who repairs rows by hand, may.
CREATE FUNCTION identity.refuse_second_time() RETURNS trigger
    LANGUAGE plpgsql SECURITY INVOKER SET search_path = ''
    AS $$
BEGIN
    IF (SELECT r.rolsuper FROM pg_catalog.pg_roles AS r WHERE r.rolname = current_user) THEN
        RETURN NEW;
    END IF;
    RAISE check_violation USING MESSAGE = 'a time that is set must not change', CONSTRAINT = TG_NAME,
        TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA;
END
$$;
COMMENT ON FUNCTION identity.refuse_second_time() IS 'Refuses to change a time that was set.';
CREATE TRIGGER consents_withdrawn_at_once BEFORE UPDATE ON identity.consents FOR EACH ROW
    WHEN (OLD.withdrawn_at IS NOT NULL AND NEW.withdrawn_at IS DISTINCT FROM OLD.withdrawn_at) EXECUTE FUNCTION identity.refuse_second_time();
CREATE TRIGGER sessions_ended_at_once BEFORE UPDATE ON identity.sessions FOR EACH ROW
    WHEN (OLD.ended_at IS NOT NULL AND NEW.ended_at IS DISTINCT FROM OLD.ended_at) EXECUTE FUNCTION identity.refuse_second_time();
CREATE TRIGGER refresh_tokens_used_at_once BEFORE UPDATE ON identity.refresh_tokens FOR EACH ROW
    WHEN (OLD.used_at IS NOT NULL AND NEW.used_at IS DISTINCT FROM OLD.used_at) EXECUTE FUNCTION identity.refuse_second_time();
CREATE TRIGGER erasures_completed_at_once BEFORE UPDATE ON identity.erasures FOR EACH ROW
    WHEN (OLD.completed_at IS NOT NULL AND NEW.completed_at IS DISTINCT FROM OLD.completed_at) EXECUTE FUNCTION identity.refuse_second_time();
CREATE TRIGGER recovery_tokens_opened_at_once BEFORE UPDATE ON identity.recovery_tokens FOR EACH ROW
    WHEN (OLD.opened_at IS NOT NULL AND NEW.opened_at IS DISTINCT FROM OLD.opened_at) EXECUTE FUNCTION identity.refuse_second_time();
CREATE TRIGGER recovery_tokens_spent_at_once BEFORE UPDATE ON identity.recovery_tokens FOR EACH ROW
    WHEN (OLD.spent_at IS NOT NULL AND NEW.spent_at IS DISTINCT FROM OLD.spent_at) EXECUTE FUNCTION identity.refuse_second_time();
CREATE TRIGGER users_erased_at_once BEFORE UPDATE ON identity.users FOR EACH ROW
    WHEN (OLD.erased_at IS NOT NULL AND NEW.erased_at IS DISTINCT FROM OLD.erased_at) EXECUTE FUNCTION identity.refuse_second_time();

-- Times that a role chooses -------------------------------------------------------------------------------------------------

-- A session lives for 30 days after its last refresh, its access tokens for 15 minutes, a message waits for minutes. By SQL
-- each could last for ever. The bounds leave a day for clocks that differ.
ALTER POLICY sessions_user_insert ON identity.sessions
    WITH CHECK (user_id = (SELECT auth.uid()) AND expires_at <= now() + interval '1 day'
        AND refresh_expires_at <= now() + interval '31 days');
ALTER POLICY sessions_user_update ON identity.sessions
    WITH CHECK (user_id = (SELECT auth.uid()) AND expires_at <= now() + interval '1 day'
        AND refresh_expires_at <= now() + interval '31 days');
ALTER POLICY refresh_tokens_user_insert ON identity.refresh_tokens
    WITH CHECK (user_id = (SELECT auth.uid()) AND expires_at <= now() + interval '31 days');
ALTER POLICY outbox_service_update ON identity.outbox WITH CHECK (next_attempt_at <= now() + interval '1 hour');

SET LOCAL row_security = on;
