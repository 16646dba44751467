-- oldest_binary: 20261129000400
SET LOCAL row_security = off;

-- When the person last proved that the account's address is theirs. NULL: not yet.
ALTER TABLE identity.users ADD COLUMN email_verified_at timestamptz;
GRANT SELECT (email_verified_at) ON identity.users TO identity_user, identity_service;

-- Adds to the events that the constraint lists.
DO $$
DECLARE
    added CONSTANT text := ', ''password_reset_request''::text, ''password_reset''::text, ''email_verification_request''::text, '
        '''email_verification''::text, ''email_change_request''::text, ''email_change''::text, ''email_undo''::text';
    earlier CONSTANT text := (
        SELECT pg_get_constraintdef(c.oid) FROM pg_constraint AS c
        WHERE c.conrelid = 'identity.security_audit_log'::regclass AND c.conname = 'security_audit_log_event_check'
    );
BEGIN
    ALTER TABLE identity.security_audit_log DROP CONSTRAINT security_audit_log_event_check;
    EXECUTE 'ALTER TABLE identity.security_audit_log ADD CONSTRAINT security_audit_log_event_check '
        || replace(replace(earlier, ']', added || ']'), ' NOT VALID', '');
END
$$;

ALTER TABLE identity.sessions
    DROP CONSTRAINT sessions_end_reason_check,
    ADD CONSTRAINT sessions_end_reason_check CHECK (
        end_reason IN (
            'signed_out', 'revoked', 'password_changed', 'token_reused', 'account_deleted', 'too_many', 'email_undone'
        )
    );

-- Tokens that a product mails to a person: each proves that the person reads the mailbox, and is used once. A token that was
-- ended, by the next one of its kind or by a change of the account, has no row. A spent one is kept so that a retry of the
-- request that spent it is recognized; it has no address. No updated_at or version: opened_at and spent_at are set once.
--
-- All times are of this server's clock, read under the account's lock: tokens are ordered by them, and clocks of replicas differ.
CREATE TABLE identity.recovery_tokens (
    user_id uuid NOT NULL,
    id uuid NOT NULL,
    kind text NOT NULL,
    -- A keyed hash of 256 bits, and the id of its key.
    token_hash bytea NOT NULL,
    -- Of an email_change the new address, and of an email_undo the one that the account gets back. The others are about the
    -- account's address, and end when it changes.
    email text,
    email_canonical text,
    -- Of an email_undo: the token of the change, and when the change took place.
    change_id uuid,
    opened_at timestamptz,
    issued_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    spent_at timestamptz,
    key_id text NOT NULL GENERATED ALWAYS AS (coalesce(nullif(encode(substr(token_hash, 33), 'escape'), ''), 'k1')) STORED,
    CONSTRAINT recovery_tokens_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT recovery_tokens_user_id_fkey FOREIGN KEY (user_id) REFERENCES identity.users (id) ON DELETE CASCADE,
    CONSTRAINT recovery_tokens_token_hash_key UNIQUE (token_hash),
    CONSTRAINT recovery_tokens_token_hash_check CHECK (octet_length(token_hash) BETWEEN 32 AND 40),
    CONSTRAINT recovery_tokens_kind_check
        CHECK (kind IN ('password_reset', 'email_verification', 'email_change', 'email_undo')),
    CONSTRAINT recovery_tokens_email_check CHECK (octet_length(email) BETWEEN 3 AND 1024),
    CONSTRAINT recovery_tokens_email_canonical_check CHECK (octet_length(email_canonical) BETWEEN 3 AND 1024),
    CONSTRAINT recovery_tokens_address_check
        CHECK (num_nonnulls(email, email_canonical) =
            CASE WHEN kind IN ('email_change', 'email_undo') AND spent_at IS NULL THEN 2 ELSE 0 END),
    CONSTRAINT recovery_tokens_change_id_check CHECK ((kind = 'email_undo') = (change_id IS NOT NULL)),
    CONSTRAINT recovery_tokens_opened_at_check CHECK (opened_at IS NULL OR kind = 'email_undo'),
    CONSTRAINT recovery_tokens_expires_at_check CHECK (expires_at > issued_at),
    CONSTRAINT recovery_tokens_spent_at_check CHECK (spent_at >= issued_at)
);
COMMENT ON TABLE identity.recovery_tokens IS
    'Tokens that are mailed to people, to reset a password or to verify, change or restore an address: keyed hashes of them.';

-- One of each kind that is not spent. Of undos of changes that took place there may be several.
CREATE UNIQUE INDEX recovery_tokens_live_key ON identity.recovery_tokens (user_id, kind)
    WHERE spent_at IS NULL AND opened_at IS NULL;
-- The addresses that accounts may get back.
CREATE INDEX recovery_tokens_reserved_idx ON identity.recovery_tokens (email_canonical)
    WHERE spent_at IS NULL AND opened_at IS NOT NULL;
CREATE INDEX recovery_tokens_expires_at_idx ON identity.recovery_tokens (expires_at);
CREATE INDEX recovery_tokens_key_id_idx ON identity.recovery_tokens (key_id, user_id);

ALTER TABLE identity.recovery_tokens ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

-- A person reads the own tokens for an export, without the hashes. Everything else is done by the functions below: for one person,
-- for one token, for one address, for what has expired, and for keys.
GRANT SELECT (user_id, id, kind, email, change_id, opened_at, issued_at, expires_at, spent_at)
    ON identity.recovery_tokens TO identity_user;
CREATE POLICY recovery_tokens_user_select ON identity.recovery_tokens FOR SELECT TO identity_user
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY recovery_tokens_own_select ON identity.recovery_tokens FOR SELECT TO identity_owner
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY recovery_tokens_own_insert ON identity.recovery_tokens FOR INSERT TO identity_owner
    WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY recovery_tokens_own_update ON identity.recovery_tokens FOR UPDATE TO identity_owner
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY recovery_tokens_own_delete ON identity.recovery_tokens FOR DELETE TO identity_owner
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY recovery_tokens_find ON identity.recovery_tokens FOR SELECT TO identity_owner
    USING (token_hash = (SELECT decode(nullif(current_setting('identity.wanted_token', true), ''), 'hex')));
CREATE POLICY recovery_tokens_reserved ON identity.recovery_tokens FOR SELECT TO identity_owner
    USING (
        spent_at IS NULL AND opened_at IS NOT NULL
        AND email_canonical = (SELECT nullif(current_setting('identity.wanted_email', true), ''))
    );
CREATE POLICY recovery_tokens_sweep_select ON identity.recovery_tokens FOR SELECT TO identity_owner
    USING (
        expires_at < now() - interval '1 minute'
        AND (spent_at IS NULL OR expires_at < now() - interval '7 days')
    );
CREATE POLICY recovery_tokens_sweep_delete ON identity.recovery_tokens FOR DELETE TO identity_owner
    USING (
        expires_at < now() - interval '1 minute'
        AND (spent_at IS NULL OR expires_at < now() - interval '7 days')
    );
CREATE POLICY recovery_tokens_keys ON identity.recovery_tokens FOR SELECT TO identity_owner
    USING ((SELECT current_setting('identity.looks_at_keys', true)) = 'yes');

-- One request of one person, for the functions below that do not have the person as the transaction's yet.
CREATE POLICY requests_find_recovery ON identity.requests FOR SELECT TO identity_owner
    USING (
        user_id = (SELECT nullif(current_setting('identity.wanted_user', true), '')::uuid)
        AND id = (SELECT nullif(current_setting('identity.wanted_request', true), '')::uuid)
    );

-- Accounts ------------------------------------------------------------------------------------------------------------------

-- What a change of an account means for tokens, by whichever program or function it is made.
--
-- After the row is written, and not before: an insert waits in the unique index for a change that gives the address up, and this
-- sees the undo that the change opened.
CREATE FUNCTION identity.guard_recovery() RETURNS trigger
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    reserved boolean;
BEGIN
    IF NEW.email_canonical IS NOT NULL
        AND (TG_OP = 'INSERT' OR NEW.email_canonical IS DISTINCT FROM OLD.email_canonical) THEN
        reserved := identity.is_reserved(NEW.email_canonical, NEW.id);
        IF reserved THEN
            RAISE unique_violation USING MESSAGE = 'the address is reserved for the account that had it',
                CONSTRAINT = 'users_email_canonical_key';
        END IF;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        IF NEW.erased_at IS NOT NULL THEN
            -- The rows go with the others of the erasure. The addresses go now.
            UPDATE identity.recovery_tokens AS t
                SET spent_at = greatest(clock_timestamp(), t.issued_at), email = NULL, email_canonical = NULL
                WHERE t.user_id = NEW.id AND t.spent_at IS NULL;
        ELSIF NEW.email_canonical IS DISTINCT FROM OLD.email_canonical THEN
            DELETE FROM identity.recovery_tokens AS t
                WHERE t.user_id = NEW.id AND t.spent_at IS NULL AND t.opened_at IS NULL;
        ELSIF NEW.password_version <> OLD.password_version THEN
            DELETE FROM identity.recovery_tokens AS t
                WHERE t.user_id = NEW.id AND t.spent_at IS NULL AND t.opened_at IS NULL AND t.kind <> 'email_verification';
        END IF;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION identity.guard_recovery() IS
    'Keeps an address for the account that may get it back, and ends tokens when the password or the address changes.';

-- True: another account than `person` had this address, and may get it back.
CREATE FUNCTION identity.is_reserved(email_canonical text, person uuid) RETURNS boolean
    LANGUAGE plpgsql VOLATILE STRICT SECURITY INVOKER SET search_path = ''
    AS $$
DECLARE
    reserved boolean;
BEGIN
    PERFORM set_config('identity.wanted_email', is_reserved.email_canonical, true);
    SELECT EXISTS (
        SELECT FROM identity.recovery_tokens AS t
        WHERE t.email_canonical = is_reserved.email_canonical AND t.user_id <> is_reserved.person
            AND t.spent_at IS NULL AND t.opened_at IS NOT NULL AND t.expires_at > now()
    ) INTO reserved;
    PERFORM set_config('identity.wanted_email', '', true);
    RETURN reserved;
END
$$;
COMMENT ON FUNCTION identity.is_reserved(text, uuid) IS
    'Whether another account had this address, and may get it back. For functions of the owner.';

CREATE TRIGGER users_guard_recovery AFTER INSERT OR UPDATE OF email_canonical, password_version, erased_at ON identity.users
    FOR EACH ROW EXECUTE FUNCTION identity.guard_recovery();

-- Requests of tokens --------------------------------------------------------------------------------------------------------

-- Always one row, and the same work for an address with an account and without one. `marks` are the keyed hashes of this request
-- under each key of the ring: an unknown address has no person for whom the request could be remembered, so it is remembered
-- among the rate limits, by identity.note_unknown_reset. mark is the place of the key in the ring.
CREATE FUNCTION identity.find_reset(email_canonical text, request_id uuid, marks bytea[])
    RETURNS TABLE (user_id uuid, method text, payload_mac bytea, answer jsonb, mark integer, noted_until timestamptz)
    LANGUAGE plpgsql VOLATILE STRICT ROWS 1 SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    PERFORM set_config('identity.wanted_email', find_reset.email_canonical, true);
    SELECT u.id INTO user_id FROM identity.users AS u
        WHERE u.email_canonical = find_reset.email_canonical AND u.password_hash IS NOT NULL;
    PERFORM set_config('identity.wanted_email', '', true);
    PERFORM set_config('identity.wanted_user', coalesce(user_id, '00000000-0000-0000-0000-000000000000')::text, true);
    PERFORM set_config('identity.wanted_request', find_reset.request_id::text, true);
    SELECT r.method, r.payload_mac, r.answer INTO method, payload_mac, answer FROM identity.requests AS r
        WHERE r.user_id = coalesce(find_reset.user_id, '00000000-0000-0000-0000-000000000000')
            AND r.id = find_reset.request_id;
    PERFORM set_config('identity.wanted_user', '', true);
    PERFORM set_config('identity.wanted_request', '', true);
    SELECT array_position(find_reset.marks, l.key), l.tat INTO mark, noted_until FROM identity.rate_limits AS l
        WHERE l.key = ANY (find_reset.marks) LIMIT 1;
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION identity.find_reset(text, uuid, bytea[]) IS
    'The account of a canonical email address, and the earlier request with this id, each NULL where there is none.';
GRANT EXECUTE ON FUNCTION identity.find_reset(text, uuid, bytea[]) TO identity_anon;

-- The remembered request says nothing about the address, and is swept with the limits.
CREATE FUNCTION identity.note_unknown_reset(mark bytea, retention interval) RETURNS timestamptz
    LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    noted_until timestamptz;
BEGIN
    INSERT INTO identity.rate_limits AS l (key, tat, emission, tolerance, admitted)
        VALUES (note_unknown_reset.mark, clock_timestamp() + note_unknown_reset.retention, '0', '0', true)
        ON CONFLICT (key) DO UPDATE SET tat = l.tat
        RETURNING l.tat INTO STRICT noted_until;
    RETURN noted_until - note_unknown_reset.retention;
END
$$;
COMMENT ON FUNCTION identity.note_unknown_reset(bytea, interval) IS
    'Remembers a request for an address that has no account. Answers when it was made first.';
GRANT EXECUTE ON FUNCTION identity.note_unknown_reset(bytea, interval) TO identity_service;

-- A token about the account's address. It ends the one before of its kind. Answers when it expires. NULL: the account is gone, or
-- has another address.
CREATE FUNCTION identity.issue_recovery_token(
    kind text, token_id uuid, token_hash bytea, email_canonical text, lifetime interval
) RETURNS timestamptz
    LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    person CONSTANT uuid := auth.uid();
    expires timestamptz;
BEGIN
    PERFORM FROM identity.users AS u
        WHERE u.id = person AND u.email_canonical = issue_recovery_token.email_canonical AND u.erased_at IS NULL
        FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    DELETE FROM identity.recovery_tokens AS t
        WHERE t.user_id = person AND t.kind = issue_recovery_token.kind AND t.spent_at IS NULL AND t.opened_at IS NULL;
    INSERT INTO identity.recovery_tokens AS t (user_id, id, kind, token_hash, issued_at, expires_at)
        SELECT person, issue_recovery_token.token_id, issue_recovery_token.kind, issue_recovery_token.token_hash, clock.now,
            clock.now + issue_recovery_token.lifetime
        FROM (SELECT clock_timestamp() AS now) AS clock
        RETURNING t.expires_at INTO STRICT expires;
    RETURN expires;
END
$$;
COMMENT ON FUNCTION identity.issue_recovery_token(text, uuid, bytea, text, interval) IS
    'Stores a token of the transaction''s person about their address. Answers its end. NULL: the person has no account with this address.';
GRANT EXECUTE ON FUNCTION identity.issue_recovery_token(text, uuid, bytea, text, interval) TO identity_service;

-- The token of a change goes to the new address. The token that takes the change back goes to the old one, and can be spent before
-- the change takes place, too. `maximum` bounds the undos of changes that took place, and so the addresses that an account reserves.
-- `old_email_canonical` is the address that the caller read and mails the undo to: `gone` if it is no longer the account's.
CREATE FUNCTION identity.issue_email_change(
    old_email_canonical text, change_id uuid, change_hash bytea, email text, email_canonical text, lifetime interval,
    undo_id uuid, undo_hash bytea, undo_lifetime interval, maximum integer
) RETURNS TABLE (outcome text, expires_at timestamptz, undo_expires_at timestamptz)
    LANGUAGE plpgsql VOLATILE STRICT ROWS 1 SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    person CONSTANT uuid := auth.uid();
    old_entered text;
    at timestamptz;
BEGIN
    SELECT u.email INTO old_entered FROM identity.users AS u
        WHERE u.id = person AND u.email_canonical = issue_email_change.old_email_canonical AND u.erased_at IS NULL
        FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        outcome := 'gone';
        RETURN NEXT;
        RETURN;
    END IF;
    at := clock_timestamp();
    PERFORM set_config('identity.wanted_email', issue_email_change.email_canonical, true);
    outcome := CASE
        WHEN issue_email_change.old_email_canonical = issue_email_change.email_canonical THEN 'same'
        WHEN (
            SELECT count(*) FROM identity.recovery_tokens AS t
            WHERE t.user_id = person AND t.spent_at IS NULL AND t.opened_at IS NOT NULL AND t.expires_at > at
        ) >= issue_email_change.maximum THEN 'too_many'
        WHEN EXISTS (SELECT FROM identity.users AS u WHERE u.email_canonical = issue_email_change.email_canonical) THEN 'taken'
        WHEN identity.is_reserved(issue_email_change.email_canonical, person) THEN 'taken'
        ELSE 'issued'
    END;
    PERFORM set_config('identity.wanted_email', '', true);
    IF outcome = 'issued' THEN
        expires_at := at + issue_email_change.lifetime;
        undo_expires_at := at + issue_email_change.undo_lifetime;
        DELETE FROM identity.recovery_tokens AS t
            WHERE t.user_id = person AND t.kind IN ('email_change', 'email_undo') AND t.spent_at IS NULL AND t.opened_at IS NULL;
        INSERT INTO identity.recovery_tokens
            (user_id, id, kind, token_hash, email, email_canonical, change_id, issued_at, expires_at)
            VALUES
                (person, issue_email_change.change_id, 'email_change', issue_email_change.change_hash, issue_email_change.email,
                    issue_email_change.email_canonical, NULL, at, expires_at),
                (person, issue_email_change.undo_id, 'email_undo', issue_email_change.undo_hash, old_entered,
                    issue_email_change.old_email_canonical, issue_email_change.change_id, at, undo_expires_at);
    END IF;
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION identity.issue_email_change(
    text, uuid, bytea, text, text, interval, uuid, bytea, interval, integer
) IS
    'Stores the tokens that change the address of the transaction''s person, and take the change back. Or the reason why not: gone, same, too_many, taken.';
GRANT EXECUTE ON FUNCTION identity.issue_email_change(
    text, uuid, bytea, text, text, interval, uuid, bytea, interval, integer
) TO identity_service;

-- Uses of tokens ------------------------------------------------------------------------------------------------------------

-- A caller with a token has no person yet. `hashes` are those of one token under each key of the ring. Also finds the earlier
-- request with this id, and what its retry is compared with.
CREATE FUNCTION identity.find_recovery_token(hashes bytea[], request_id uuid)
    RETURNS TABLE (
        user_id uuid, id uuid, kind text, usable boolean, email text, password_hash text,
        password_version bigint, method text, payload_mac bytea, answer jsonb
    )
    LANGUAGE plpgsql VOLATILE STRICT ROWS 1 SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    hash bytea;
BEGIN
    FOREACH hash IN ARRAY find_recovery_token.hashes LOOP
        PERFORM set_config('identity.wanted_token', encode(hash, 'hex'), true);
        SELECT t.user_id, t.id, t.kind, t.spent_at IS NULL AND t.expires_at > clock_timestamp() INTO user_id, id, kind, usable
            FROM identity.recovery_tokens AS t WHERE t.token_hash = hash;
        EXIT WHEN FOUND;
    END LOOP;
    PERFORM set_config('identity.wanted_token', '', true);
    IF user_id IS NULL THEN
        RETURN;
    END IF;
    PERFORM set_config('identity.wanted_user', user_id::text, true);
    PERFORM set_config('identity.wanted_request', find_recovery_token.request_id::text, true);
    SELECT u.email, u.password_hash, u.password_version INTO email, password_hash, password_version
        FROM identity.users AS u WHERE u.id = find_recovery_token.user_id AND u.erased_at IS NULL;
    SELECT r.method, r.payload_mac, r.answer INTO method, payload_mac, answer FROM identity.requests AS r
        WHERE r.user_id = find_recovery_token.user_id AND r.id = find_recovery_token.request_id;
    PERFORM set_config('identity.wanted_user', '', true);
    PERFORM set_config('identity.wanted_request', '', true);
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION identity.find_recovery_token(bytea[], uuid) IS
    'The recovery token with one of these hashes, its account, and the earlier request with this id: at most one row.';
GRANT EXECUTE ON FUNCTION identity.find_recovery_token(bytea[], uuid) TO identity_anon;

-- Each of the functions below locks the account, then spends the token, and does what the token is for: all of it or nothing, and
-- once. They answer NULL, or no row, where the token cannot be spent any more.
CREATE FUNCTION identity.spend_recovery_token(token_id uuid, kind text)
    RETURNS TABLE (email text, email_canonical text, opened_at timestamptz)
    LANGUAGE plpgsql VOLATILE STRICT ROWS 1 SECURITY INVOKER SET search_path = ''
    AS $$
DECLARE
    person CONSTANT uuid := auth.uid();
    now timestamptz;
BEGIN
    PERFORM FROM identity.users AS u WHERE u.id = person AND u.erased_at IS NULL FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    now := clock_timestamp();
    -- The row is locked with the account: what is read here is what is spent.
    SELECT t.email, t.email_canonical, t.opened_at INTO email, email_canonical, opened_at FROM identity.recovery_tokens AS t
        WHERE t.user_id = person AND t.id = spend_recovery_token.token_id AND t.kind = spend_recovery_token.kind
            AND t.spent_at IS NULL AND t.expires_at > now;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    UPDATE identity.recovery_tokens AS t
        SET spent_at = greatest(now, t.issued_at), email = NULL, email_canonical = NULL
        WHERE t.user_id = person AND t.id = spend_recovery_token.token_id;
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION identity.spend_recovery_token(uuid, text) IS
    'Spends a token of the transaction''s person. For functions of the owner.';

-- The mailbox was proven, so the address is verified as well. Answers the sessions that this ended, and the version of the password.
CREATE FUNCTION identity.reset_password(token_id uuid, password_hash text, at timestamptz)
    RETURNS TABLE (ended uuid[], version bigint)
    LANGUAGE plpgsql VOLATILE STRICT ROWS 1 SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    person CONSTANT uuid := auth.uid();
BEGIN
    PERFORM FROM identity.spend_recovery_token(reset_password.token_id, 'password_reset') AS s;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    UPDATE identity.users AS u
        SET password_hash = reset_password.password_hash, password_version = u.password_version + 1,
            email_verified_at = coalesce(u.email_verified_at, reset_password.at), version = u.version + 1,
            updated_at = reset_password.at
        WHERE u.id = person
        RETURNING u.password_version INTO STRICT version;
    ended := array(
        SELECT e.session_id FROM identity.end_sessions(NULL, NULL, 'password_changed', reset_password.at) AS e
    );
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION identity.reset_password(uuid, text, timestamptz) IS
    'Spends a token, sets the password of the transaction''s person, and ends all sessions. No row: the token cannot be spent.';
GRANT EXECUTE ON FUNCTION identity.reset_password(uuid, text, timestamptz) TO identity_user;

-- Answers when the address was verified first.
CREATE FUNCTION identity.verify_email(token_id uuid, at timestamptz) RETURNS timestamptz
    LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    person CONSTANT uuid := auth.uid();
BEGIN
    PERFORM FROM identity.spend_recovery_token(verify_email.token_id, 'email_verification') AS s;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    UPDATE identity.users AS u
        SET email_verified_at = verify_email.at, version = u.version + 1, updated_at = verify_email.at
        WHERE u.id = person AND u.email_verified_at IS NULL;
    RETURN (SELECT u.email_verified_at FROM identity.users AS u WHERE u.id = person);
END
$$;
COMMENT ON FUNCTION identity.verify_email(uuid, timestamptz) IS
    'Spends a token, and notes that the address of the transaction''s person is theirs. NULL: the token cannot be spent.';
GRANT EXECUTE ON FUNCTION identity.verify_email(uuid, timestamptz) TO identity_user;

-- Violates users_email_canonical_key, and spends nothing, where the address is another account's in the meantime.
CREATE FUNCTION identity.confirm_email_change(token_id uuid, at timestamptz) RETURNS boolean
    LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    person CONSTANT uuid := auth.uid();
    entered text;
    canonical text;
BEGIN
    SELECT s.email, s.email_canonical INTO entered, canonical
        FROM identity.spend_recovery_token(confirm_email_change.token_id, 'email_change') AS s;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    -- Before the address changes, which ends what is not open. Changes are ordered by this time, also after a failover to a server
    -- whose clock is behind.
    UPDATE identity.recovery_tokens AS t
        SET opened_at = greatest(clock_timestamp(), (
            SELECT max(o.opened_at) FROM identity.recovery_tokens AS o WHERE o.user_id = person
        ) + interval '1 microsecond')
        WHERE t.user_id = person AND t.change_id = confirm_email_change.token_id AND t.spent_at IS NULL;
    UPDATE identity.users AS u
        SET email = entered, email_canonical = canonical, email_verified_at = confirm_email_change.at,
            version = u.version + 1, updated_at = confirm_email_change.at
        WHERE u.id = person;
    RETURN true;
END
$$;
COMMENT ON FUNCTION identity.confirm_email_change(uuid, timestamptz) IS
    'Spends a token, and changes the address of the transaction''s person. NULL: the token cannot be spent.';
GRANT EXECUTE ON FUNCTION identity.confirm_email_change(uuid, timestamptz) TO identity_user;

-- Takes the change back, and every later one; or ends it, where it did not take place yet. The owner of the older address decides:
-- the undos of later changes end, so that the change cannot come back.
--
-- Another person may know the password, or have reset it by the other address. So `password_hash` replaces it, of a password that
-- no one knows, and the owner, who proved to read the old mailbox, gets the token of a password reset. Answers the sessions that
-- this ended, and when that token expires.
CREATE FUNCTION identity.undo_email_change(
    token_id uuid, password_hash text, reset_id uuid, reset_hash bytea, reset_lifetime interval, at timestamptz
) RETURNS TABLE (ended uuid[], reset_expires_at timestamptz)
    LANGUAGE plpgsql VOLATILE STRICT ROWS 1 SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    person CONSTANT uuid := auth.uid();
    undo record;
BEGIN
    SELECT s.email, s.email_canonical, s.opened_at INTO undo
        FROM identity.spend_recovery_token(undo_email_change.token_id, 'email_undo') AS s;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    DELETE FROM identity.recovery_tokens AS t
        WHERE t.user_id = person AND t.spent_at IS NULL AND t.kind IN ('email_change', 'email_undo')
            AND (t.opened_at IS NULL OR t.opened_at > undo.opened_at);
    -- The new version of the password also refuses a sign-in that checked the password before.
    UPDATE identity.users AS u
        SET email = undo.email, email_canonical = undo.email_canonical, email_verified_at = undo_email_change.at,
            password_hash = undo_email_change.password_hash, password_version = u.password_version + 1,
            version = u.version + 1, updated_at = undo_email_change.at
        WHERE u.id = person;
    DELETE FROM identity.device_tokens AS d WHERE d.user_id = person;
    ended := array(
        SELECT e.session_id FROM identity.end_sessions(NULL, NULL, 'email_undone', undo_email_change.at) AS e
    );
    reset_expires_at := identity.issue_recovery_token('password_reset', undo_email_change.reset_id, undo_email_change.reset_hash,
        undo.email_canonical, undo_email_change.reset_lifetime);
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION identity.undo_email_change(uuid, text, uuid, bytea, interval, timestamptz) IS
    'Spends a token, gives the transaction''s person the old address back, and ends the password and all sessions. No row: the token cannot be spent.';
GRANT EXECUTE ON FUNCTION identity.undo_email_change(uuid, text, uuid, bytea, interval, timestamptz) TO identity_user;

-- A service asks for tokens: its calls are limited, too.
GRANT EXECUTE ON FUNCTION identity.admit_call(bytea[], interval[], interval[], bytea[], bytea[], interval, interval)
    TO identity_service;

-- Retention and keys --------------------------------------------------------------------------------------------------------

-- Spent tokens stay for as long as the requests that spent them.
CREATE FUNCTION identity.sweep_recovery_tokens(batch integer) RETURNS bigint
    LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    swept bigint;
BEGIN
    DELETE FROM identity.recovery_tokens AS t
        WHERE (t.user_id, t.id) IN (SELECT o.user_id, o.id FROM identity.recovery_tokens AS o
            WHERE o.expires_at < now() - interval '1 minute'
                AND (o.spent_at IS NULL OR o.expires_at < now() - interval '7 days')
            LIMIT sweep_recovery_tokens.batch);
    GET DIAGNOSTICS swept = ROW_COUNT;
    RETURN swept;
END
$$;
COMMENT ON FUNCTION identity.sweep_recovery_tokens(integer) IS 'Deletes so many expired recovery tokens. Answers how many.';
GRANT EXECUTE ON FUNCTION identity.sweep_recovery_tokens(integer) TO identity_service;

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
        ), of_recovery_tokens AS (
            SELECT min(r.key_id) AS key_id FROM identity.recovery_tokens AS r
            UNION ALL
            SELECT (SELECT min(r.key_id) FROM identity.recovery_tokens AS r WHERE r.key_id > k.key_id)
            FROM of_recovery_tokens AS k WHERE k.key_id IS NOT NULL
        )
        SELECT k.key_id FROM of_requests AS k WHERE k.key_id <> ALL (missing_secret_keys.known)
        UNION
        SELECT k.key_id FROM of_refresh_tokens AS k WHERE k.key_id <> ALL (missing_secret_keys.known)
        UNION
        SELECT k.key_id FROM of_device_tokens AS k WHERE k.key_id <> ALL (missing_secret_keys.known)
        UNION
        SELECT k.key_id FROM of_recovery_tokens AS k WHERE k.key_id <> ALL (missing_secret_keys.known);
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
        UNION ALL
        SELECT 'recovery_tokens.token_hash', r.key_id, count(*) FROM identity.recovery_tokens AS r GROUP BY r.key_id
        ORDER BY 1, 2;
    PERFORM set_config('identity.looks_at_keys', '', true);
END
$$;

SET LOCAL row_security = on;
