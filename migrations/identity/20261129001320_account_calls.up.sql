-- oldest_binary: 20261129000400
SET LOCAL row_security = off;

-- As before, in plpgsql, which a session keeps compiled. A function in SQL that cannot be inlined is parsed and planned for each
-- statement that calls it.
CREATE OR REPLACE FUNCTION identity.due_time(
    tat timestamptz, kept_emission interval, kept_tolerance interval, tolerance interval, at timestamptz
) RETURNS timestamptz
    LANGUAGE plpgsql IMMUTABLE SECURITY INVOKER SET search_path = ''
    AS $$
BEGIN
    RETURN CASE
        WHEN tat <= at + kept_emission + kept_tolerance + interval '10 seconds' THEN tat
        ELSE least(tat, at + tolerance)
    END;
END
$$;
CREATE OR REPLACE FUNCTION identity.audit_digest(
    previous bytea, person uuid, number bigint, event text, refused boolean, service text, session_id uuid,
    network_mac bytea, at timestamptz
) RETURNS bytea
    LANGUAGE plpgsql IMMUTABLE SECURITY INVOKER SET search_path = ''
    AS $$
BEGIN
    RETURN sha256(previous || convert_to(concat_ws('|',
        person::text, number::text, event, CASE WHEN refused THEN 'refused' ELSE 'done' END,
        coalesce(session_id::text, ''), coalesce(encode(network_mac, 'hex'), ''),
        (extract(epoch FROM at) * 1000000)::bigint::text, coalesce(service, '')
    ), 'UTF8'));
END
$$;

-- Its plans do not depend on the values of the parameters, and Postgres would choose them again for each call.
ALTER FUNCTION identity.admit_call(bytea[], interval[], interval[], bytea[], bytea[], interval, interval)
    SET plan_cache_mode = force_generic_plan;

-- Calls of one round trip: see "Calls in one round trip" in migrations/README.md.

-- Counts a call that is within its limits. What a refused call has counted is undone, as a rollback would: it uses up nothing, and
-- the rest of the transaction goes on. The parameters are those of identity.admit_call.
CREATE FUNCTION identity.count_call(
    keys bytea[], emissions interval[], tolerances interval[], accounts bytea[], caps bytea[], cap_emission interval,
    cap_tolerance interval, OUT refused bytea[], OUT waits interval[]
)
    LANGUAGE plpgsql VOLATILE SECURITY INVOKER SET search_path = ''
    AS $$
DECLARE
    ignored text;
BEGIN
    IF cardinality(keys) = 0 AND cardinality(accounts) = 0 AND cardinality(caps) = 0 THEN
        RETURN;
    END IF;
    BEGIN
        SELECT array_agg(a.key), array_agg(a.retry_after) INTO refused, waits
            FROM identity.admit_call(keys, emissions, tolerances, accounts, caps, cap_emission, cap_tolerance) AS a
            WHERE NOT a.admitted;
        IF refused IS NOT NULL THEN
            RAISE SQLSTATE 'HV429';
        END IF;
    EXCEPTION WHEN SQLSTATE 'HV429' THEN
        -- Nothing is left that a crash could lose, so the commit waits for no disk and no standby.
        ignored := pg_catalog.set_config('synchronous_commit', 'off', true);
        RETURN;
    END;
END
$$;
COMMENT ON FUNCTION identity.count_call(bytea[], interval[], interval[], bytea[], bytea[], interval, interval) IS
    'Counts a call that is within its limits. Otherwise counts nothing, and returns the keys of the limits and the waits.';
GRANT EXECUTE ON FUNCTION identity.count_call(bytea[], interval[], interval[], bytea[], bytea[], interval, interval)
    TO identity_anon, identity_user;

-- Finds the sign-up that had this request id, and admits the call: a retry by limits of its own, and any other sign-up by those of
-- its network and its service. `payload_macs` are the hashes of the request under each key of the ring.
CREATE FUNCTION identity.begin_sign_up_1(
    request_id uuid, payload_macs bytea[], keys bytea[], emissions interval[], tolerances interval[], retry_keys bytea[],
    retry_emissions interval[], retry_tolerances interval[], retry_failures bytea[]
) RETURNS TABLE (
    refused bytea[], waits interval[], is_erased boolean, user_id uuid, payload_mac bytea, answer jsonb, password_hash text
)
    LANGUAGE plpgsql VOLATILE ROWS 1 SECURITY INVOKER SET search_path = ''
    AS $$
DECLARE
    context text;
    nothing CONSTANT bytea[] := '{}';
    zero CONSTANT interval := '0';
BEGIN
    context := pg_catalog.set_config('request.jwt.claims', '{}', true);
    context := pg_catalog.set_config('role', 'identity_anon', true);
    is_erased := identity.is_erased_sign_up(request_id);
    SELECT f.user_id, f.payload_mac, f.answer, f.password_hash INTO user_id, payload_mac, answer, password_hash
        FROM identity.find_sign_up(request_id) AS f;
    IF NOT is_erased AND payload_mac = ANY (payload_macs) THEN
        SELECT c.refused, c.waits INTO refused, waits FROM identity.count_call(
            retry_keys, retry_emissions, retry_tolerances, retry_failures, nothing, zero, zero) AS c;
    ELSE
        SELECT c.refused, c.waits INTO refused, waits FROM identity.count_call(
            keys, emissions, tolerances, nothing, nothing, zero, zero) AS c;
    END IF;
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION identity.begin_sign_up_1(
    uuid, bytea[], bytea[], interval[], interval[], bytea[], interval[], interval[], bytea[]
) IS 'SignUp, before the hash: whether it is a retry, and whether it is within its limits.';
REVOKE EXECUTE ON FUNCTION identity.begin_sign_up_1(
    uuid, bytea[], bytea[], interval[], interval[], bytea[], interval[], interval[], bytea[]
) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION identity.begin_sign_up_1(
    uuid, bytea[], bytea[], interval[], interval[], bytea[], interval[], interval[], bytea[]
) TO identity_app;

-- Stores an account, its consents, the request, the message to data and the first audit event. The account counts towards its limits
-- in the same transaction: a sign-up that fails for another reason uses nothing up.
CREATE FUNCTION identity.sign_up_1(
    person uuid, email text, email_canonical text, password_hash text, goals text[], at timestamptz, consent_ids uuid[],
    documents text[], versions text[], request_id uuid, payload_mac bytea, answer jsonb, message_id uuid, attempts integer,
    lease interval, service text, network_mac bytea, keys bytea[], emissions interval[], tolerances interval[]
) RETURNS TABLE (refused bytea[], waits interval[])
    LANGUAGE plpgsql VOLATILE ROWS 1 SECURITY INVOKER SET search_path = ''
    AS $$
DECLARE
    context text;
BEGIN
    context := pg_catalog.set_config('request.jwt.claims', '{"sub":"' || person || '"}', true);
    context := pg_catalog.set_config('role', 'identity_anon', true);
    SELECT c.refused, c.waits INTO refused, waits
        FROM identity.count_call(keys, emissions, tolerances, '{}', '{}', '0', '0') AS c;
    IF refused IS NULL THEN
        -- The address waits here for a deletion or a change that frees it. What the triggers of the next statements look for, they
        -- look for after that.
        INSERT INTO identity.users (id, email, email_canonical, password_hash, goals, created_at, updated_at)
            VALUES (person, sign_up_1.email, sign_up_1.email_canonical, sign_up_1.password_hash, sign_up_1.goals, at, at);
        INSERT INTO identity.consents (user_id, id, document, document_version, granted_at)
            SELECT person, new.id, new.document, new.document_version, at
            FROM unnest(consent_ids, documents, versions) AS new (id, document, document_version);
        INSERT INTO identity.requests (user_id, id, method, payload_mac, answer, created_at)
            VALUES (person, request_id, 'SignUp', sign_up_1.payload_mac, sign_up_1.answer, at);
        INSERT INTO identity.outbox (user_id, id, kind, attempts, next_attempt_at, created_at)
            VALUES (person, message_id, 'provision_user', sign_up_1.attempts, now() + lease, at);
        context := identity.append_audit_event('sign_up', false, service, NULL, network_mac, at);
    END IF;
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION identity.sign_up_1(
    uuid, text, text, text, text[], timestamptz, uuid[], text[], text[], uuid, bytea, jsonb, uuid, integer, interval, text, bytea,
    bytea[], interval[], interval[]
) IS 'SignUp, after the hash: stores the account and all that belongs to it.';
REVOKE EXECUTE ON FUNCTION identity.sign_up_1(
    uuid, text, text, text, text[], timestamptz, uuid[], text[], text[], uuid, bytea, jsonb, uuid, integer, interval, text, bytea,
    bytea[], interval[], interval[]
) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION identity.sign_up_1(
    uuid, text, text, text, text[], timestamptz, uuid[], text[], text[], uuid, bytea, jsonb, uuid, integer, interval, text, bytea,
    bytea[], interval[], interval[]
) TO identity_app;

-- Counts a wrong password, and logs it where there is an account. The same statement in both cases, and one round trip.
CREATE FUNCTION identity.note_wrong_password_1(
    person uuid, accounts bytea[], caps bytea[], cap_emission interval, cap_tolerance interval, service text, network_mac bytea,
    at timestamptz
) RETURNS TABLE (noted boolean)
    LANGUAGE plpgsql VOLATILE ROWS 1 SECURITY INVOKER SET search_path = ''
    AS $$
DECLARE
    context text;
BEGIN
    context := pg_catalog.set_config('request.jwt.claims', coalesce('{"sub":"' || person || '"}', '{}'), true);
    context := pg_catalog.set_config('role', 'identity_service', true);
    context := identity.note_wrong_password(accounts, caps, cap_emission, cap_tolerance, service, network_mac, at);
    noted := true;
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION identity.note_wrong_password_1(
    uuid, bytea[], bytea[], interval, interval, text, bytea, timestamptz
) IS 'Counts a wrong password of SignIn, or of a retry of SignUp, and logs it where there is a person.';
REVOKE EXECUTE ON FUNCTION identity.note_wrong_password_1(
    uuid, bytea[], bytea[], interval, interval, text, bytea, timestamptz
) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION identity.note_wrong_password_1(
    uuid, bytea[], bytea[], interval, interval, text, bytea, timestamptz
) TO identity_worker;

SET LOCAL row_security = on;
