-- oldest_binary: 20261129000400
SET LOCAL row_security = off;

-- Calls of one round trip, as in the migration before.

-- As before, with plans that a session keeps. A condition on an expression of the parameter finds no index in such a plan, so it is a
-- variable.
CREATE OR REPLACE FUNCTION identity.find_sign_in(email_canonical text, devices bytea[], at timestamptz)
    RETURNS TABLE (user_id uuid, password_hash text, password_version bigint, device_hash bytea)
    LANGUAGE plpgsql VOLATILE STRICT ROWS 1 SECURITY DEFINER SET search_path = '' SET plan_cache_mode = force_generic_plan
    AS $$
DECLARE
    wanted uuid;
BEGIN
    PERFORM set_config('identity.wanted_email', find_sign_in.email_canonical, true);
    SELECT u.id, u.password_hash, u.password_version INTO user_id, password_hash, password_version
        FROM identity.users AS u WHERE u.email_canonical = find_sign_in.email_canonical;
    wanted := coalesce(user_id, '00000000-0000-0000-0000-000000000000');
    PERFORM set_config('identity.wanted_email', '', true), set_config('identity.wanted_user', wanted::text, true);
    SELECT d.token_hash INTO device_hash FROM identity.device_tokens AS d
        WHERE d.user_id = wanted AND d.token_hash = ANY (find_sign_in.devices) AND d.expires_at > find_sign_in.at
        LIMIT 1;
    PERFORM set_config('identity.wanted_user', '', true);
    RETURN NEXT;
END
$$;

-- Finds the account of an address, its device token, and an earlier request, and admits the sign-in by the limits that follow from
-- that. Does the same work for an address without an account.
--
-- `keys` are the limits of the network and the service. A device that signed in before is limited and counted by its token alone,
-- and any other attempt by the address and the network; both have the limit of `own_emissions` and `own_tolerances`.
CREATE FUNCTION identity.begin_sign_in_1(
    email_canonical text, devices bytea[], at timestamptz, request_id uuid, payload_macs bytea[],
    keys bytea[], emissions interval[], tolerances interval[],
    retry_keys bytea[], retry_emissions interval[], retry_tolerances interval[],
    device_keys bytea[], address_keys bytea[], own_emissions interval[], own_tolerances interval[],
    device_failures bytea[], address_failures bytea[], caps bytea[], cap_emission interval, cap_tolerance interval
) RETURNS TABLE (
    refused bytea[], waits interval[], user_id uuid, password_hash text, password_version bigint, device_hash bytea
)
    LANGUAGE plpgsql VOLATILE ROWS 1 SECURITY INVOKER SET search_path = ''
    AS $$
DECLARE
    context text;
    by_device boolean;
    failures bytea[];
BEGIN
    context := pg_catalog.set_config('request.jwt.claims', '{}', true);
    context := pg_catalog.set_config('role', 'identity_anon', true);
    SELECT f.user_id, f.password_hash, f.password_version, f.device_hash
        INTO user_id, password_hash, password_version, device_hash
        FROM identity.find_sign_in(begin_sign_in_1.email_canonical, devices, at) AS f;
    by_device := device_hash IS NOT NULL;
    failures := CASE WHEN by_device THEN device_failures ELSE address_failures END;
    -- The cap is that of the account, for callers without a counter of their own.
    IF by_device THEN
        caps := '{}';
    END IF;
    IF identity.knows_sign_in(user_id, request_id, payload_macs) THEN
        keys := retry_keys;
        emissions := retry_emissions;
        tolerances := retry_tolerances;
    ELSE
        keys := keys || CASE WHEN by_device THEN device_keys ELSE address_keys END;
        emissions := emissions || own_emissions;
        tolerances := tolerances || own_tolerances;
    END IF;
    SELECT c.refused, c.waits INTO refused, waits
        FROM identity.count_call(keys, emissions, tolerances, failures, caps, cap_emission, cap_tolerance) AS c;
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION identity.begin_sign_in_1(
    text, bytea[], timestamptz, uuid, bytea[], bytea[], interval[], interval[], bytea[], interval[], interval[], bytea[], bytea[],
    interval[], interval[], bytea[], bytea[], bytea[], interval, interval
) IS 'SignIn, before the password is checked: the account, and whether the call is within its limits.';
REVOKE EXECUTE ON FUNCTION identity.begin_sign_in_1(
    text, bytea[], timestamptz, uuid, bytea[], bytea[], interval[], interval[], bytea[], interval[], interval[], bytea[], bytea[],
    interval[], interval[], bytea[], bytea[], bytea[], interval, interval
) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION identity.begin_sign_in_1(
    text, bytea[], timestamptz, uuid, bytea[], bytea[], interval[], interval[], bytea[], interval[], interval[], bytea[], bytea[],
    interval[], interval[], bytea[], bytea[], bytea[], interval, interval
) TO identity_app;

-- Begins a session, with its first refresh token and its device token, and ends the oldest sessions beyond the maximum. `earlier` is
-- true when the same request did so before: then nothing is changed, and the row has the stored request. Fails when the password
-- was changed after it was checked.
CREATE FUNCTION identity.sign_in_1(
    person uuid, request_id uuid, request_mac bytea, session_answer jsonb, at timestamptz, password_version bigint,
    session_id uuid, issued_at timestamptz, expires_at timestamptz, refresh_expires_at timestamptz,
    token_id uuid, token_hash bytea, failures bytea[], service text, network_mac bytea,
    device_id uuid, device_kept bytea, device_hash bytea, device_expires_at timestamptz, device_maximum integer,
    max_sessions integer, documents text[], versions text[], requires_verified boolean, upgraded text
) RETURNS TABLE (
    earlier boolean, is_unverified boolean, method text, payload_mac bytea, answer jsonb, missing_consents text[], ended uuid[]
)
    LANGUAGE plpgsql VOLATILE ROWS 1 SECURITY INVOKER SET search_path = ''
    AS $$
DECLARE
    context text;
    failure bytea;
BEGIN
    context := pg_catalog.set_config('request.jwt.claims', '{"sub":"' || person || '"}', true);
    context := pg_catalog.set_config('role', 'identity_user', true);
    earlier := false;
    is_unverified := false;
    IF requires_verified THEN
        is_unverified := EXISTS (
            SELECT FROM identity.users AS u
            WHERE u.id = person AND u.password_version = sign_in_1.password_version AND u.email_verified_at IS NULL
        );
    END IF;
    IF NOT is_unverified THEN
        missing_consents := ARRAY(
            SELECT required.document || '=' || required.version
            FROM unnest(documents, versions) WITH ORDINALITY AS required (document, version, position)
            WHERE NOT EXISTS (
                SELECT FROM identity.consents AS consent
                WHERE consent.user_id = person AND consent.document = required.document
                    AND consent.document_version = required.version AND consent.withdrawn_at IS NULL
            )
            ORDER BY required.position
        );
        INSERT INTO identity.requests (user_id, id, method, payload_mac, answer, created_at)
            VALUES (person, request_id, 'SignIn', request_mac,
                session_answer || jsonb_build_object('missing_consents', missing_consents), at)
            ON CONFLICT ON CONSTRAINT requests_pkey DO NOTHING;
        IF FOUND THEN
            UPDATE identity.users AS u SET last_active_at = at
                WHERE u.id = person AND u.password_version = sign_in_1.password_version
                    AND (NOT requires_verified OR u.email_verified_at IS NOT NULL);
            IF NOT FOUND THEN
                -- Undoes the request.
                RAISE check_violation USING MESSAGE = 'the password or the address was changed in the meantime',
                    CONSTRAINT = 'sign_in_password_version';
            END IF;
            IF upgraded IS NOT NULL THEN
                UPDATE identity.users AS u SET password_hash = upgraded WHERE u.id = person;
            END IF;
            INSERT INTO identity.sessions (user_id, id, issued_at, expires_at, refresh_expires_at)
                VALUES (person, sign_in_1.session_id, sign_in_1.issued_at, sign_in_1.expires_at,
                    sign_in_1.refresh_expires_at);
            INSERT INTO identity.refresh_tokens (user_id, id, session_id, token_hash, issued_at, expires_at)
                VALUES (person, token_id, sign_in_1.session_id, sign_in_1.token_hash, sign_in_1.issued_at,
                    sign_in_1.refresh_expires_at);
            FOREACH failure IN ARRAY failures LOOP
                context := identity.forget_failures(failure);
            END LOOP;
            context := identity.append_audit_event('sign_in', false, service, sign_in_1.session_id, network_mac, at);
            context := identity.keep_device_token(device_id, device_kept, device_hash, at, device_expires_at, device_maximum);
            ended := ARRAY(SELECT o.session_id FROM identity.end_oldest_sessions(sign_in_1.session_id, max_sessions, at) AS o);
            RETURN NEXT;
            RETURN;
        END IF;
    END IF;
    SELECT r.method, r.payload_mac, r.answer INTO method, payload_mac, answer
        FROM identity.requests AS r WHERE r.user_id = person AND r.id = request_id;
    IF FOUND THEN
        earlier := true;
        is_unverified := false;
    ELSIF is_unverified THEN
        context := identity.append_audit_event('sign_in', true, service, NULL, network_mac, at);
    ELSE
        RAISE check_violation USING MESSAGE = 'the request is gone', CONSTRAINT = 'sign_in_password_version';
    END IF;
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION identity.sign_in_1(
    uuid, uuid, bytea, jsonb, timestamptz, bigint, uuid, timestamptz, timestamptz, timestamptz, uuid, bytea, bytea[], text, bytea,
    uuid, bytea, bytea, timestamptz, integer, integer, text[], text[], boolean, text
) IS 'SignIn, after the password was checked: begins the session.';
REVOKE EXECUTE ON FUNCTION identity.sign_in_1(
    uuid, uuid, bytea, jsonb, timestamptz, bigint, uuid, timestamptz, timestamptz, timestamptz, uuid, bytea, bytea[], text, bytea,
    uuid, bytea, bytea, timestamptz, integer, integer, text[], text[], boolean, text
) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION identity.sign_in_1(
    uuid, uuid, bytea, jsonb, timestamptz, bigint, uuid, timestamptz, timestamptz, timestamptz, uuid, bytea, bytea[], text, bytea,
    uuid, bytea, bytea, timestamptz, integer, integer, text[], text[], boolean, text
) TO identity_app;

-- Admits a call, and finds the token that has one of these hashes: those of one token under each key of the ring. Its own
-- transaction, so that what was counted stays, and that the rows of limits, which calls of one service share, are never locked
-- while a commit waits for the disk. `at` is the time by the clock of Postgres, from which the deadline of the call is reckoned.
CREATE FUNCTION identity.begin_refresh_1(hashes bytea[], keys bytea[], emissions interval[], tolerances interval[])
    RETURNS TABLE (
        refused bytea[], waits interval[], user_id uuid, session_id uuid, token_id uuid, hash bytea, at timestamptz
    )
    LANGUAGE plpgsql VOLATILE ROWS 1 SECURITY INVOKER SET search_path = ''
    AS $$
DECLARE
    context text;
BEGIN
    context := pg_catalog.set_config('request.jwt.claims', '{}', true);
    context := pg_catalog.set_config('role', 'identity_anon', true);
    SELECT c.refused, c.waits INTO refused, waits
        FROM identity.count_call(keys, emissions, tolerances, '{}', '{}', '0', '0') AS c;
    IF refused IS NULL THEN
        FOREACH hash IN ARRAY hashes LOOP
            SELECT f.user_id, f.session_id, f.id INTO user_id, session_id, token_id
                FROM identity.find_refresh_token(hash) AS f;
            EXIT WHEN FOUND;
        END LOOP;
    END IF;
    at := clock_timestamp();
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION identity.begin_refresh_1(bytea[], bytea[], interval[], interval[]) IS
    'RefreshSession: whether the call is within its limits, and which token has one of these hashes.';
REVOKE EXECUTE ON FUNCTION identity.begin_refresh_1(bytea[], bytea[], interval[], interval[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION identity.begin_refresh_1(bytea[], bytea[], interval[], interval[]) TO identity_app;

-- Uses a refresh token, stores its successor and extends the session; or answers as the state of the token says, in `outcome`:
-- refreshed, again (used within `grace`), ended, expired, unknown, or reused, which ends the session. All times are by the clock of
-- Postgres, which is the same for the calls of all replicas. Only a call that uses a token counts towards the limits.
--
-- The outcome is late, and nothing is changed, after `not_after`, the deadline of the call. Its caller has given up by then, and may
-- have used the token with a retry: without this, a statement that a slow network delivers long after would look like a reuse.
CREATE FUNCTION identity.refresh_session_1(
    person uuid, session uuid, token uuid, documents text[], versions text[], next_id uuid, next_hash bytea,
    grace interval, access_lifetime interval, refresh_lifetime interval, service text, network_mac bytea,
    keys bytea[], emissions interval[], tolerances interval[], not_after timestamptz
) RETURNS TABLE (
    outcome text, issued_at timestamptz, expires_at timestamptz, refresh_expires_at timestamptz, missing_consents text[],
    refused bytea[], waits interval[]
)
    LANGUAGE plpgsql VOLATILE ROWS 1 SECURITY INVOKER SET search_path = ''
    AS $$
DECLARE
    context text;
    has_ended boolean;
    token_issued_at timestamptz;
    token_expires_at timestamptz;
    token_used_at timestamptz;
    at timestamptz;
BEGIN
    context := pg_catalog.set_config('request.jwt.claims', '{"sub":"' || person || '"}', true);
    context := pg_catalog.set_config('role', 'identity_user', true);
    -- Locks the account first, as ChangePassword and DeleteAccount do.
    SELECT coalesce(s.refreshed_at, s.issued_at), s.expires_at, s.refresh_expires_at, s.ended_at IS NOT NULL,
            t.issued_at, t.expires_at, t.used_at
        INTO issued_at, expires_at, refresh_expires_at, has_ended, token_issued_at, token_expires_at, token_used_at
        FROM identity.users AS u
            JOIN identity.sessions AS s ON s.user_id = u.id
            JOIN identity.refresh_tokens AS t ON t.user_id = s.user_id AND t.session_id = s.id
        WHERE u.id = person AND s.id = session AND t.id = token
        FOR NO KEY UPDATE OF u, s, t;
    IF NOT FOUND THEN
        outcome := 'unknown';
        RETURN NEXT;
        RETURN;
    END IF;
    -- After the wait for the locks.
    at := clock_timestamp();
    outcome := CASE
        WHEN at > not_after THEN 'late'
        WHEN has_ended THEN 'ended'
        WHEN token_expires_at <= at THEN 'expired'
        WHEN token_used_at IS NULL THEN 'refreshed'
        WHEN at - token_used_at <= grace THEN 'again'
        ELSE 'reused'
    END;
    IF outcome = 'reused' THEN
        PERFORM FROM identity.end_sessions(session, NULL, 'token_reused', at);
        context := identity.append_audit_event('token_reuse', true, service, session, network_mac, at);
    ELSIF outcome IN ('refreshed', 'again') THEN
        missing_consents := ARRAY(
            SELECT required.document || '=' || required.version
            FROM unnest(documents, versions) WITH ORDINALITY AS required (document, version, position)
            WHERE NOT EXISTS (
                SELECT FROM identity.consents AS consent
                WHERE consent.user_id = person AND consent.document = required.document
                    AND consent.document_version = required.version AND consent.withdrawn_at IS NULL
            )
            ORDER BY required.position
        );
    END IF;
    IF outcome = 'refreshed' THEN
        SELECT c.refused, c.waits INTO refused, waits
            FROM identity.count_call(keys, emissions, tolerances, '{}', '{}', '0', '0') AS c;
        IF refused IS NULL THEN
            -- In whole seconds, as in a token, and never before the current tokens: the clock of the replica that issued them may
            -- have been ahead.
            issued_at := date_trunc('second', greatest(at, issued_at));
            expires_at := issued_at + access_lifetime;
            refresh_expires_at := issued_at + refresh_lifetime;
            UPDATE identity.refresh_tokens AS t SET used_at = greatest(at, token_issued_at)
                WHERE t.user_id = person AND t.id = token;
            INSERT INTO identity.refresh_tokens (user_id, id, session_id, token_hash, issued_at, expires_at)
                VALUES (person, next_id, session, next_hash, refresh_session_1.issued_at,
                    refresh_session_1.refresh_expires_at);
            UPDATE identity.users AS u SET last_active_at = greatest(at, token_issued_at) WHERE u.id = person;
            UPDATE identity.sessions AS s
                SET refreshed_at = refresh_session_1.issued_at, expires_at = refresh_session_1.expires_at,
                    refresh_expires_at = refresh_session_1.refresh_expires_at
                WHERE s.user_id = person AND s.id = session;
        END IF;
    END IF;
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION identity.refresh_session_1(
    uuid, uuid, uuid, text[], text[], uuid, bytea, interval, interval, interval, text, bytea, bytea[], interval[], interval[], timestamptz
) IS 'RefreshSession: uses a refresh token of the person, and stores its successor.';
REVOKE EXECUTE ON FUNCTION identity.refresh_session_1(
    uuid, uuid, uuid, text[], text[], uuid, bytea, interval, interval, interval, text, bytea, bytea[], interval[], interval[], timestamptz
) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION identity.refresh_session_1(
    uuid, uuid, uuid, text[], text[], uuid, bytea, interval, interval, interval, text, bytea, bytea[], interval[], interval[], timestamptz
) TO identity_app;

SET LOCAL row_security = on;
