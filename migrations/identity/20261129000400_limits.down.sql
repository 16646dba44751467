SET LOCAL row_security = off;

-- Finishes the erasures in batches: without the column, a person would have an account again while rows are left.
ALTER TABLE identity.erasures NO FORCE ROW LEVEL SECURITY;
DO $$
DECLARE
    people CONSTANT uuid[] := ARRAY(SELECT e.user_id FROM identity.erasures AS e WHERE e.has_rows);
    person uuid;
BEGIN
    ALTER TABLE identity.erasures FORCE ROW LEVEL SECURITY;
    SET LOCAL row_security = on;
    FOREACH person IN ARRAY people LOOP
        PERFORM set_config('request.jwt.claims', jsonb_build_object('sub', person)::text, true);
        PERFORM identity.erase_rows(1000000000);
    END LOOP;
    PERFORM set_config('request.jwt.claims', '', true);
    SET LOCAL row_security = off;
END
$$;

CREATE OR REPLACE FUNCTION identity.oldest_binary() RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = ''
    RETURN 20261129000100;

CREATE OR REPLACE FUNCTION identity.count_secret_keys() RETURNS TABLE (hash text, key_id text, count bigint)
    LANGUAGE plpgsql VOLATILE ROWS 8 SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    PERFORM set_config('identity.looks_at_keys', 'yes', true);
    RETURN QUERY
        SELECT 'requests.payload_mac', r.key_id, count(*) FROM identity.requests AS r GROUP BY r.key_id
        UNION ALL
        SELECT 'refresh_tokens.token_hash', r.key_id, count(*) FROM identity.refresh_tokens AS r GROUP BY r.key_id
        ORDER BY 1, 2;
    PERFORM set_config('identity.looks_at_keys', '', true);
END
$$;

CREATE OR REPLACE FUNCTION identity.missing_secret_keys(known text[]) RETURNS SETOF text
    LANGUAGE plpgsql VOLATILE STRICT ROWS 1 SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    PERFORM set_config('identity.looks_at_keys', 'yes', true);
    -- From one key to the next in each index: this costs as much as there are keys, and not as there are rows.
    RETURN QUERY
        WITH RECURSIVE of_requests AS (
            SELECT min(r.key_id) AS key_id FROM identity.requests AS r
            UNION ALL
            SELECT (SELECT min(r.key_id) FROM identity.requests AS r WHERE r.key_id > k.key_id)
            FROM of_requests AS k WHERE k.key_id IS NOT NULL
        ), of_refresh_tokens AS (
            SELECT min(r.key_id) AS key_id FROM identity.refresh_tokens AS r
            UNION ALL
            SELECT (SELECT min(r.key_id) FROM identity.refresh_tokens AS r WHERE r.key_id > k.key_id)
            FROM of_refresh_tokens AS k WHERE k.key_id IS NOT NULL
        )
        SELECT k.key_id FROM of_requests AS k WHERE k.key_id <> ALL (missing_secret_keys.known)
        UNION
        SELECT k.key_id FROM of_refresh_tokens AS k WHERE k.key_id <> ALL (missing_secret_keys.known);
    PERFORM set_config('identity.looks_at_keys', '', true);
END
$$;

DROP FUNCTION identity.sweep_device_tokens(integer);
DROP FUNCTION identity.trim_receipts(interval, integer);
DROP POLICY erasures_trim_update ON identity.erasures;
DROP POLICY erasures_trim_select ON identity.erasures;
DROP INDEX identity.erasures_completed_at_idx;

CREATE OR REPLACE FUNCTION identity.make_external_account(message_id uuid, lease_until timestamptz, at timestamptz)
    RETURNS boolean
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    person CONSTANT uuid := auth.uid();
    made boolean;
BEGIN
    INSERT INTO identity.users (id, goals, created_at, updated_at)
        VALUES (person, '{}', make_external_account.at, make_external_account.at) ON CONFLICT (id) DO NOTHING;
    made := FOUND;
    IF made AND EXISTS (SELECT FROM identity.erasures AS e WHERE e.user_id = person) THEN
        RAISE unique_violation USING MESSAGE = 'the account was erased', CONSTRAINT = 'erasures_pkey';
    END IF;
    IF made THEN
        INSERT INTO identity.outbox (user_id, id, kind, attempts, next_attempt_at, created_at)
            VALUES (person, make_external_account.message_id, 'provision_user', 1,
                make_external_account.lease_until, make_external_account.at);
        PERFORM identity.append_audit_event('sign_up', false, NULL, NULL, NULL, make_external_account.at);
    END IF;
    RETURN made;
END
$$;

CREATE OR REPLACE FUNCTION identity.own_credential()
    RETURNS TABLE (email text, email_canonical text, password_hash text, password_version bigint)
    LANGUAGE plpgsql STABLE ROWS 1 SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    RETURN QUERY
        SELECT u.email, u.email_canonical, u.password_hash, u.password_version FROM identity.users u
        WHERE u.id = auth.uid();
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
    relation record;
    found_rows bigint;
    counts jsonb := jsonb_build_object('identity.users', 1);
    ended uuid[];
    last_digest bytea;
BEGIN
    PERFORM FROM identity.users AS u WHERE u.id = person FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    ended := array(
        SELECT e.session_id
        FROM identity.end_sessions(NULL, erase_account.spared_session, 'account_deleted', erase_account.at) AS e
    );
    PERFORM identity.append_audit_event('deletion', false, erase_account.service, erase_account.spared_session,
        erase_account.network_mac, erase_account.at);
    SELECT c.last_digest INTO STRICT last_digest FROM identity.audit_chains AS c WHERE c.user_id = person;
    FOR relation IN
        SELECT format('%I.%I', n.nspname, c.relname) AS name
        FROM pg_catalog.pg_class AS c
            JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
            JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'user_id'
        WHERE n.nspname = 'identity' AND c.relkind IN ('r', 'p') AND NOT c.relispartition
            AND c.relname <> 'erasures'
    LOOP
        EXECUTE format('SELECT count(*) FROM %s WHERE user_id = $1', relation.name) INTO found_rows USING person;
        counts := counts || jsonb_build_object(relation.name, found_rows);
    END LOOP;
    DELETE FROM identity.outbox AS o WHERE o.user_id = person;
    DELETE FROM identity.users AS u WHERE u.id = person;
    INSERT INTO identity.erasures (user_id, request_id, service, requested_at, erased, audit_digest)
        VALUES (person, erase_account.request_id, erase_account.service, erase_account.at, counts, last_digest);
    INSERT INTO identity.outbox (user_id, id, kind, attempts, next_attempt_at, created_at)
        VALUES (person, erase_account.message_id, 'erase_user', 1, erase_account.lease_until, erase_account.at);
    RETURN QUERY SELECT unnest(ended);
END
$$;

DROP FUNCTION identity.erase_rows(integer);
DROP FUNCTION identity.person_tables();
DROP POLICY security_audit_log_own_delete ON identity.security_audit_log;
DROP POLICY requests_own_delete ON identity.requests;
DROP POLICY refresh_tokens_own_delete ON identity.refresh_tokens;
DROP POLICY consents_own_delete ON identity.consents;
DROP POLICY erasures_own_update ON identity.erasures;
ALTER TABLE identity.erasures
    DROP CONSTRAINT erasures_has_rows_check,
    DROP COLUMN has_rows;
DROP POLICY users_not_erased ON identity.users;
ALTER TABLE identity.users
    DROP CONSTRAINT users_erased_at_check,
    DROP COLUMN erased_at;

DROP FUNCTION identity.usage(timestamptz);
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
END
$$;

DROP FUNCTION identity.end_oldest_sessions(uuid, integer, timestamptz);
DROP POLICY sessions_own_delete ON identity.sessions;
-- The rows are the owner's for this one statement.
ALTER TABLE identity.sessions NO FORCE ROW LEVEL SECURITY;
UPDATE identity.sessions SET end_reason = 'revoked' WHERE end_reason = 'too_many';
ALTER TABLE identity.sessions
    FORCE ROW LEVEL SECURITY,
    DROP CONSTRAINT sessions_end_reason_check,
    ADD CONSTRAINT sessions_end_reason_check CHECK (
        end_reason IN ('signed_out', 'revoked', 'password_changed', 'token_reused', 'account_deleted')
    );
DROP INDEX identity.sessions_ended_at_idx;

DROP FUNCTION identity.keep_device_token(uuid, bytea, bytea, timestamptz, timestamptz, integer);
DROP FUNCTION identity.find_sign_in(text, bytea[], timestamptz);
DROP TABLE identity.device_tokens;

CREATE OR REPLACE FUNCTION identity.admit(keys bytea[], emissions interval[], tolerances interval[], account bytea)
    RETURNS TABLE (key bytea, admitted boolean, retry_after interval)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    at CONSTANT timestamptz := clock_timestamp();
BEGIN
    RETURN QUERY
        INSERT INTO identity.rate_limits AS kept (key, tat, emission, tolerance, admitted)
        SELECT asked.key, at + asked.emission, asked.emission, asked.tolerance, true
        FROM unnest(admit.keys, admit.emissions, admit.tolerances) AS asked (key, emission, tolerance)
        ORDER BY asked.key
        ON CONFLICT ON CONSTRAINT rate_limits_pkey DO UPDATE SET
            admitted = greatest(kept.tat, at) - at <= excluded.tolerance,
            tat = CASE WHEN greatest(kept.tat, at) - at <= excluded.tolerance
                THEN greatest(kept.tat, at) + excluded.emission ELSE kept.tat END,
            emission = excluded.emission,
            tolerance = excluded.tolerance
        RETURNING kept.key, kept.admitted, kept.tat - at - kept.tolerance;
    IF admit.account IS NOT NULL THEN
        RETURN QUERY
            SELECT f.key, f.not_before <= at, f.not_before - at FROM identity.failures AS f
            WHERE f.key = admit.account;
    END IF;
END
$$;

DROP FUNCTION identity.note_wrong_password(bytea[], bytea[], interval, interval, text, bytea, timestamptz);
DROP FUNCTION identity.admit_call(bytea[], interval[], interval[], bytea[], bytea[], interval, interval);
DROP FUNCTION identity.due_time(timestamptz, interval, interval, interval, timestamptz);

SET LOCAL row_security = on;
