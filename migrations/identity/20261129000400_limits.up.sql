-- oldest_binary: 20261129000400
SET LOCAL row_security = off;

-- An earlier program does not complete an erasure in batches.
CREATE OR REPLACE FUNCTION identity.oldest_binary() RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = ''
    RETURN 20261129000400;

-- Rate limits and waits -----------------------------------------------------------------------------------------------------

-- As identity.admit, with any number of counters of wrong passwords, and with caps. A cap is a limit on wrong passwords over all
-- networks: it is looked at here, and identity.note_wrong_password counts.
--
-- The callers derive a key from its limit too, so a limit that was changed counts from its start, and replicas with different
-- limits do not change each other's times.
CREATE FUNCTION identity.admit_call(
    keys bytea[], emissions interval[], tolerances interval[], accounts bytea[], caps bytea[], cap_emission interval,
    cap_tolerance interval
) RETURNS TABLE (key bytea, admitted boolean, retry_after interval)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    at CONSTANT timestamptz := clock_timestamp();
    longest CONSTANT interval := interval '30 minutes';
BEGIN
    RETURN QUERY
        INSERT INTO identity.rate_limits AS kept (key, tat, emission, tolerance, admitted)
        SELECT asked.key, at + asked.emission, asked.emission, asked.tolerance, true
        FROM unnest(admit_call.keys, admit_call.emissions, admit_call.tolerances) AS asked (key, emission, tolerance)
        ORDER BY asked.key
        ON CONFLICT ON CONSTRAINT rate_limits_pkey DO UPDATE SET
            (tat, emission, tolerance, admitted) = (
                SELECT CASE WHEN due.tat - at <= excluded.tolerance THEN greatest(due.tat, at) + excluded.emission
                        ELSE due.tat END,
                    excluded.emission, excluded.tolerance, due.tat - at <= excluded.tolerance
                FROM identity.due_time(kept.tat, kept.emission, kept.tolerance, excluded.tolerance, at) AS due (tat)
            )
        RETURNING kept.key, kept.admitted, kept.tat - at - kept.tolerance;
    RETURN QUERY
        SELECT f.key, f.not_before <= at OR f.not_before > at + longest + interval '10 seconds', f.not_before - at
        FROM identity.failures AS f WHERE f.key = ANY (admit_call.accounts);
    RETURN QUERY
        SELECT l.key, due.tat - at <= admit_call.cap_tolerance, due.tat - at - admit_call.cap_tolerance
        FROM identity.rate_limits AS l,
            identity.due_time(l.tat, l.emission, l.tolerance, admit_call.cap_tolerance, at) AS due (tat)
        WHERE l.key = ANY (admit_call.caps);
END
$$;
COMMENT ON FUNCTION identity.admit_call(bytea[], interval[], interval[], bytea[], bytea[], interval, interval) IS
    'Whether a call is within its limits: a row for each, and for how long to wait where it is not.';
GRANT EXECUTE ON FUNCTION identity.admit_call(bytea[], interval[], interval[], bytea[], bytea[], interval, interval)
    TO identity_anon, identity_user;

-- A time that no call can have stored by this server's clock is of another server, before a failover. No more than the burst is
-- used up then.
CREATE FUNCTION identity.due_time(
    tat timestamptz, kept_emission interval, kept_tolerance interval, tolerance interval, at timestamptz
) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE SECURITY INVOKER
    RETURN CASE
        WHEN tat <= at + kept_emission + kept_tolerance + interval '10 seconds' THEN tat
        ELSE least(tat, at + tolerance)
    END;
COMMENT ON FUNCTION identity.due_time(timestamptz, interval, interval, interval, timestamptz) IS
    'When the next call is due by a limit. A stored time that is of another clock counts as a used-up burst.';

-- Programs before this version admit in the same way.
CREATE OR REPLACE FUNCTION identity.admit(keys bytea[], emissions interval[], tolerances interval[], account bytea)
    RETURNS TABLE (key bytea, admitted boolean, retry_after interval)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    RETURN QUERY
        SELECT a.key, a.admitted, a.retry_after
        FROM identity.admit_call(admit.keys, admit.emissions, admit.tolerances, ARRAY[admit.account], '{}', '0', '0') AS a;
END
$$;

-- Counts a wrong password under each of `accounts` and against each of `caps`, and logs it where there is an account. As
-- identity.note_failed_sign_in otherwise.
CREATE FUNCTION identity.note_wrong_password(
    accounts bytea[], caps bytea[], cap_emission interval, cap_tolerance interval, service text, network_mac bytea,
    at timestamptz
) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    by_this_server CONSTANT timestamptz := clock_timestamp();
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    INSERT INTO identity.rate_limits AS kept (key, tat, emission, tolerance, admitted)
        SELECT cap.key, by_this_server + note_wrong_password.cap_emission, note_wrong_password.cap_emission,
            note_wrong_password.cap_tolerance, true
        FROM unnest(note_wrong_password.caps) AS cap (key) ORDER BY cap.key
        ON CONFLICT ON CONSTRAINT rate_limits_pkey DO UPDATE SET
            -- At most one wrong password over the cap: attempts that were let through together do not make the wait longer.
            tat = least(greatest(identity.due_time(kept.tat, kept.emission, kept.tolerance, excluded.tolerance,
                    by_this_server), by_this_server) + excluded.emission,
                by_this_server + excluded.tolerance + excluded.emission),
            emission = excluded.emission, tolerance = excluded.tolerance, admitted = true;
    PERFORM identity.note_failure(account.key)
        FROM (SELECT a.key FROM unnest(note_wrong_password.accounts) AS a (key) ORDER BY a.key) AS account;
    IF auth.uid() IS NOT NULL THEN
        PERFORM identity.append_audit_event('sign_in', true, note_wrong_password.service, NULL,
            note_wrong_password.network_mac, note_wrong_password.at);
    END IF;
END
$$;
COMMENT ON FUNCTION identity.note_wrong_password(bytea[], bytea[], interval, interval, text, bytea, timestamptz) IS
    'Counts a wrong password, and logs it where the transaction has a person.';
GRANT EXECUTE ON FUNCTION identity.note_wrong_password(bytea[], bytea[], interval, interval, text, bytea, timestamptz)
    TO identity_service;

-- Devices -------------------------------------------------------------------------------------------------------------------

-- A token of each device that signed in: a sign-in that brings it has a counter of wrong passwords of its own. It proves
-- nothing else. No updated_at or version: a renewal sets expires_at, and the hash of the same token under the newest key.
CREATE TABLE identity.device_tokens (
    user_id uuid NOT NULL,
    id uuid NOT NULL,
    -- A keyed hash of 256 random bits, and the id of its key.
    token_hash bytea NOT NULL,
    issued_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    key_id text NOT NULL GENERATED ALWAYS AS (coalesce(nullif(encode(substr(token_hash, 33), 'escape'), ''), 'k1')) STORED,
    CONSTRAINT device_tokens_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT device_tokens_user_id_fkey FOREIGN KEY (user_id) REFERENCES identity.users (id) ON DELETE CASCADE,
    CONSTRAINT device_tokens_token_hash_key UNIQUE (user_id, token_hash),
    CONSTRAINT device_tokens_token_hash_check CHECK (octet_length(token_hash) BETWEEN 32 AND 40),
    CONSTRAINT device_tokens_expires_at_check CHECK (expires_at > issued_at)
);
COMMENT ON TABLE identity.device_tokens IS 'Tokens of devices that signed in: keyed hashes of them.';
CREATE INDEX device_tokens_expires_at_idx ON identity.device_tokens (expires_at);
CREATE INDEX device_tokens_key_id_idx ON identity.device_tokens (key_id, user_id);

ALTER TABLE identity.device_tokens ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

-- No role reaches the table. The functions below do, for one person, for what has expired, and for keys.
CREATE POLICY device_tokens_own_select ON identity.device_tokens FOR SELECT TO identity_owner
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY device_tokens_own_insert ON identity.device_tokens FOR INSERT TO identity_owner
    WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY device_tokens_own_update ON identity.device_tokens FOR UPDATE TO identity_owner
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY device_tokens_own_delete ON identity.device_tokens FOR DELETE TO identity_owner
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY device_tokens_find ON identity.device_tokens FOR SELECT TO identity_owner
    USING (user_id = (SELECT nullif(current_setting('identity.wanted_user', true), '')::uuid));
CREATE POLICY device_tokens_sweep_select ON identity.device_tokens FOR SELECT TO identity_owner
    USING (expires_at < now() - interval '1 day');
CREATE POLICY device_tokens_sweep_delete ON identity.device_tokens FOR DELETE TO identity_owner
    USING (expires_at < now() - interval '1 day');
CREATE POLICY device_tokens_keys ON identity.device_tokens FOR SELECT TO identity_owner
    USING ((SELECT current_setting('identity.looks_at_keys', true)) = 'yes');

-- Always one row, and the same work whether there is an account and whether the token is right: `devices` are the hashes of one
-- token under each key of the ring.
CREATE FUNCTION identity.find_sign_in(email_canonical text, devices bytea[], at timestamptz)
    RETURNS TABLE (user_id uuid, password_hash text, password_version bigint, device_hash bytea)
    LANGUAGE plpgsql VOLATILE STRICT ROWS 1 SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    PERFORM set_config('identity.wanted_email', find_sign_in.email_canonical, true);
    SELECT u.id, u.password_hash, u.password_version INTO user_id, password_hash, password_version
        FROM identity.users AS u WHERE u.email_canonical = find_sign_in.email_canonical;
    PERFORM set_config('identity.wanted_email', '', true);
    PERFORM set_config('identity.wanted_user', coalesce(user_id, '00000000-0000-0000-0000-000000000000')::text, true);
    SELECT d.token_hash INTO device_hash FROM identity.device_tokens AS d
        WHERE d.user_id = coalesce(find_sign_in.user_id, '00000000-0000-0000-0000-000000000000')
            AND d.token_hash = ANY (find_sign_in.devices) AND d.expires_at > find_sign_in.at
        LIMIT 1;
    PERFORM set_config('identity.wanted_user', '', true);
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION identity.find_sign_in(text, bytea[], timestamptz) IS
    'The account of a canonical email address, and the hash of the account''s device token, each NULL where there is none.';
GRANT EXECUTE ON FUNCTION identity.find_sign_in(text, bytea[], timestamptz) TO identity_anon;

-- Renews the token that has the hash `kept`, or stores another one. Of more than `maximum`, those go that were used least recently.
CREATE FUNCTION identity.keep_device_token(
    token_id uuid, kept bytea, token_hash bytea, at timestamptz, expires_at timestamptz, maximum integer
) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    person CONSTANT uuid := auth.uid();
BEGIN
    UPDATE identity.device_tokens AS d
        SET token_hash = keep_device_token.token_hash, expires_at = greatest(d.expires_at, keep_device_token.expires_at)
        WHERE d.user_id = person AND d.token_hash = keep_device_token.kept;
    IF NOT FOUND THEN
        INSERT INTO identity.device_tokens AS d (user_id, id, token_hash, issued_at, expires_at)
            VALUES (person, keep_device_token.token_id, keep_device_token.token_hash, keep_device_token.at,
                keep_device_token.expires_at)
            ON CONFLICT ON CONSTRAINT device_tokens_token_hash_key DO UPDATE
                SET expires_at = greatest(d.expires_at, excluded.expires_at);
    END IF;
    DELETE FROM identity.device_tokens AS d
        WHERE d.user_id = person AND d.id IN (
            SELECT o.id FROM identity.device_tokens AS o WHERE o.user_id = person
            ORDER BY o.token_hash = keep_device_token.token_hash DESC, o.expires_at DESC, o.id DESC
            OFFSET keep_device_token.maximum
        );
END
$$;
COMMENT ON FUNCTION identity.keep_device_token(uuid, bytea, bytea, timestamptz, timestamptz, integer) IS
    'Renews or stores a device token of the transaction''s person.';
GRANT EXECUTE ON FUNCTION identity.keep_device_token(uuid, bytea, bytea, timestamptz, timestamptz, integer) TO identity_user;

-- Sessions ------------------------------------------------------------------------------------------------------------------

-- A person's sessions that have not ended, and then those that ended, the newest last.
CREATE INDEX sessions_ended_at_idx ON identity.sessions (user_id, ended_at);

ALTER TABLE identity.sessions
    DROP CONSTRAINT sessions_end_reason_check,
    ADD CONSTRAINT sessions_end_reason_check CHECK (
        end_reason IN ('signed_out', 'revoked', 'password_changed', 'token_reused', 'account_deleted', 'too_many')
    );
CREATE POLICY sessions_own_delete ON identity.sessions FOR DELETE TO identity_owner
    USING (user_id = (SELECT auth.uid()));

-- A sign-in is never refused for the number of sessions: the sessions that were not refreshed for the longest time end. Of the
-- sessions that ended, the newest hundred stay.
CREATE FUNCTION identity.end_oldest_sessions(begun uuid, maximum integer, at timestamptz) RETURNS TABLE (session_id uuid)
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
COMMENT ON FUNCTION identity.end_oldest_sessions(uuid, integer, timestamptz) IS
    'Ends the oldest sessions of the transaction''s person beyond the maximum, which counts the one that begins.';
GRANT EXECUTE ON FUNCTION identity.end_oldest_sessions(uuid, integer, timestamptz) TO identity_user;

-- As before; and a new password forgets the devices, which may be another person's.
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

-- What a person uses of each quota. The quotas bound what is counted here.
CREATE FUNCTION identity.usage(at timestamptz) RETURNS TABLE (quota text, used bigint)
    LANGUAGE plpgsql STABLE STRICT ROWS 3 SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    RETURN QUERY
        SELECT 'consents', count(*) FROM identity.consents AS c WHERE c.user_id = auth.uid()
        UNION ALL
        SELECT 'devices', count(*) FROM identity.device_tokens AS d
            WHERE d.user_id = auth.uid() AND d.expires_at > usage.at
        UNION ALL
        SELECT 'sessions', count(*) FROM identity.sessions AS s
            WHERE s.user_id = auth.uid() AND s.ended_at IS NULL AND s.refresh_expires_at > usage.at;
END
$$;
COMMENT ON FUNCTION identity.usage(timestamptz) IS 'How much the transaction''s person uses of each quota.';
GRANT EXECUTE ON FUNCTION identity.usage(timestamptz) TO identity_user, identity_service;

-- Erasure in batches --------------------------------------------------------------------------------------------------------

-- A person with many rows is marked, and their rows go in batches. Until the last one is gone, the account exists for
-- the functions of erasure only.
ALTER TABLE identity.users
    ADD COLUMN erased_at timestamptz,
    ADD CONSTRAINT users_erased_at_check CHECK (erased_at IS NULL OR num_nonnulls(email, email_canonical, password_hash) = 0);
CREATE POLICY users_not_erased ON identity.users AS RESTRICTIVE FOR SELECT TO identity_user, identity_service, haven_readonly
    USING (erased_at IS NULL);

-- A receipt is not complete before all rows are gone. A program that does not know of batches violates the constraint, and
-- tries again later.
ALTER TABLE identity.erasures
    ADD COLUMN has_rows boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT erasures_has_rows_check CHECK (NOT has_rows OR completed_at IS NULL);
CREATE POLICY erasures_own_update ON identity.erasures FOR UPDATE TO identity_owner
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY consents_own_delete ON identity.consents FOR DELETE TO identity_owner
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY refresh_tokens_own_delete ON identity.refresh_tokens FOR DELETE TO identity_owner
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY requests_own_delete ON identity.requests FOR DELETE TO identity_owner
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY security_audit_log_own_delete ON identity.security_audit_log FOR DELETE TO identity_owner
    USING (user_id = (SELECT auth.uid()) AND (SELECT current_setting('identity.erasing', true)) = 'on');

-- The tables are those of the catalog and not of a list here, so that a later one cannot be forgotten. Those that others refer to
-- come last.
CREATE FUNCTION identity.person_tables() RETURNS TABLE (name text)
    LANGUAGE plpgsql STABLE SET search_path = ''
    AS $$
BEGIN
    RETURN QUERY
        SELECT format('%I.%I', n.nspname, c.relname)
        FROM pg_catalog.pg_class AS c
            JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
            JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'user_id'
        WHERE n.nspname = 'identity' AND c.relkind IN ('r', 'p') AND NOT c.relispartition
            AND c.relname <> 'erasures'
        ORDER BY EXISTS (SELECT FROM pg_catalog.pg_constraint AS f WHERE f.contype = 'f' AND f.confrelid = c.oid), 1;
END
$$;
COMMENT ON FUNCTION identity.person_tables() IS 'The tables with rows of people, without that of receipts.';

-- As before for a person with few rows. Of one with many rows, the address and the password go, and what makes their tokens refused
-- is written; identity.erase_rows does the rest.
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

-- Deletes up to `batch` rows of the transaction's person after the erasure of the account, and adds them to the receipt. The last call
-- deletes the account. Several calls wait for each other.
CREATE FUNCTION identity.erase_rows(batch integer) RETURNS boolean
    LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    person CONSTANT uuid := auth.uid();
    relation record;
    found_rows bigint;
    gone bigint := 0;
    counts jsonb;
BEGIN
    PERFORM FROM identity.users AS u WHERE u.id = person AND u.erased_at IS NOT NULL FOR UPDATE;
    IF NOT FOUND THEN
        RETURN true;
    END IF;
    SELECT e.erased INTO STRICT counts FROM identity.erasures AS e WHERE e.user_id = person FOR UPDATE;
    PERFORM set_config('identity.erasing', 'on', true);
    -- Not the message to data, which says that there is something to erase, and not the end of the audit chain: events without
    -- a chain are a sign of tampering. Both go with the account.
    FOR relation IN SELECT t.name FROM identity.person_tables() AS t
        WHERE t.name NOT IN ('identity.outbox', 'identity.audit_chains')
    LOOP
        EXECUTE format('DELETE FROM %1$s WHERE user_id = $1 AND ctid = ANY (ARRAY(
                SELECT ctid FROM %1$s WHERE user_id = $1 LIMIT $2))', relation.name)
            USING person, erase_rows.batch - gone;
        GET DIAGNOSTICS found_rows = ROW_COUNT;
        gone := gone + found_rows;
        counts := counts || jsonb_build_object(relation.name,
            coalesce((counts ->> relation.name)::bigint, 0) + found_rows);
        EXIT WHEN gone >= erase_rows.batch;
    END LOOP;
    PERFORM set_config('identity.erasing', '', true);
    IF gone < erase_rows.batch THEN
        SELECT count(*) INTO found_rows FROM identity.audit_chains AS c WHERE c.user_id = person;
        DELETE FROM identity.users AS u WHERE u.id = person;
        counts := counts || jsonb_build_object('identity.users', 1, 'identity.audit_chains', found_rows);
    END IF;
    UPDATE identity.erasures AS e SET erased = counts, has_rows = gone >= erase_rows.batch WHERE e.user_id = person;
    RETURN gone < erase_rows.batch;
END
$$;
COMMENT ON FUNCTION identity.erase_rows(integer) IS
    'Deletes so many rows of the transaction''s person after the erasure of the account. True: there is nothing left.';
GRANT EXECUTE ON FUNCTION identity.erase_rows(integer) TO identity_service;

-- A marked account has no credential: this is no account of another provider.
CREATE OR REPLACE FUNCTION identity.own_credential()
    RETURNS TABLE (email text, email_canonical text, password_hash text, password_version bigint)
    LANGUAGE plpgsql STABLE ROWS 1 SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    RETURN QUERY
        SELECT u.email, u.email_canonical, u.password_hash, u.password_version FROM identity.users u
        WHERE u.id = auth.uid() AND u.erased_at IS NULL;
END
$$;

-- A marked account was erased: its id gets no other account.
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
    IF made AND EXISTS (SELECT FROM identity.erasures AS e WHERE e.user_id = person)
        OR EXISTS (SELECT FROM identity.users AS u WHERE u.id = person AND u.erased_at IS NOT NULL) THEN
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

-- Retention -----------------------------------------------------------------------------------------------------------------

-- Receipts that have counts, by the time of their completion.
CREATE INDEX erasures_completed_at_idx ON identity.erasures (completed_at) WHERE erased <> '{}' OR data_erased <> '{}';
CREATE POLICY erasures_trim_select ON identity.erasures FOR SELECT TO identity_owner
    USING ((SELECT current_setting('identity.trimming', true)) = 'on');
CREATE POLICY erasures_trim_update ON identity.erasures FOR UPDATE TO identity_owner
    USING ((SELECT current_setting('identity.trimming', true)) = 'on' AND completed_at < now() - interval '1 day')
    WITH CHECK ((SELECT current_setting('identity.trimming', true)) = 'on' AND erased = '{}' AND data_erased = '{}');

-- How many rows a person had in each table says something about them. That they were erased stays.
CREATE FUNCTION identity.trim_receipts(retention interval, batch integer) RETURNS bigint
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
COMMENT ON FUNCTION identity.trim_receipts(interval, integer) IS
    'Forgets the counts of receipts that were completed that long ago, of so many at most. Answers how many.';
GRANT EXECUTE ON FUNCTION identity.trim_receipts(interval, integer) TO identity_service;

CREATE FUNCTION identity.sweep_device_tokens(batch integer) RETURNS bigint
    LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    swept bigint;
BEGIN
    DELETE FROM identity.device_tokens AS d
        WHERE (d.user_id, d.id) IN (SELECT o.user_id, o.id FROM identity.device_tokens AS o
            WHERE o.expires_at < now() - interval '1 day' LIMIT sweep_device_tokens.batch);
    GET DIAGNOSTICS swept = ROW_COUNT;
    RETURN swept;
END
$$;
COMMENT ON FUNCTION identity.sweep_device_tokens(integer) IS 'Deletes so many expired device tokens. Answers how many.';
GRANT EXECUTE ON FUNCTION identity.sweep_device_tokens(integer) TO identity_service;

-- Keys ----------------------------------------------------------------------------------------------------------------------

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
        ), of_device_tokens AS (
            SELECT min(r.key_id) AS key_id FROM identity.device_tokens AS r
            UNION ALL
            SELECT (SELECT min(r.key_id) FROM identity.device_tokens AS r WHERE r.key_id > k.key_id)
            FROM of_device_tokens AS k WHERE k.key_id IS NOT NULL
        )
        SELECT k.key_id FROM of_requests AS k WHERE k.key_id <> ALL (missing_secret_keys.known)
        UNION
        SELECT k.key_id FROM of_refresh_tokens AS k WHERE k.key_id <> ALL (missing_secret_keys.known)
        UNION
        SELECT k.key_id FROM of_device_tokens AS k WHERE k.key_id <> ALL (missing_secret_keys.known);
    PERFORM set_config('identity.looks_at_keys', '', true);
END
$$;

CREATE OR REPLACE FUNCTION identity.count_secret_keys() RETURNS TABLE (hash text, key_id text, count bigint)
    LANGUAGE plpgsql VOLATILE ROWS 8 SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    PERFORM set_config('identity.looks_at_keys', 'yes', true);
    RETURN QUERY
        SELECT 'requests.payload_mac', r.key_id, count(*) FROM identity.requests AS r GROUP BY r.key_id
        UNION ALL
        SELECT 'refresh_tokens.token_hash', r.key_id, count(*) FROM identity.refresh_tokens AS r GROUP BY r.key_id
        UNION ALL
        SELECT 'device_tokens.token_hash', r.key_id, count(*) FROM identity.device_tokens AS r GROUP BY r.key_id
        ORDER BY 1, 2;
    PERFORM set_config('identity.looks_at_keys', '', true);
END
$$;

SET LOCAL row_security = on;
