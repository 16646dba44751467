SET LOCAL row_security = off;

-- The security audit log: who did what, how it ended, and no personal text. Append-only: no role may update or delete.
-- Each person's events are a chain: an event's digest is SHA-256 over the digest of the one before and the event's own
-- line, so that an event that was changed, left out or put in later breaks the chain from there on.
CREATE TABLE identity.security_audit_log (
    user_id uuid NOT NULL,
    number bigint NOT NULL,
    event text NOT NULL,
    refused boolean NOT NULL,
    -- The service that called, the session it was about, and a keyed hash of the network it came from.
    service text,
    session_id uuid,
    network_mac bytea,
    occurred_at timestamptz NOT NULL,
    digest bytea NOT NULL,
    CONSTRAINT security_audit_log_pkey PRIMARY KEY (user_id, number),
    CONSTRAINT security_audit_log_user_id_fkey FOREIGN KEY (user_id) REFERENCES identity.users (id) ON DELETE CASCADE,
    CONSTRAINT security_audit_log_number_check CHECK (number >= 1),
    CONSTRAINT security_audit_log_event_check CHECK (event IN (
        'sign_up', 'sign_in', 'sign_out', 'password_change', 'token_reuse', 'consent_grant', 'consent_withdraw',
        'stage', 'deletion'
    )),
    CONSTRAINT security_audit_log_service_check CHECK (octet_length(service) BETWEEN 1 AND 255),
    CONSTRAINT security_audit_log_network_mac_check CHECK (octet_length(network_mac) = 32),
    CONSTRAINT security_audit_log_digest_check CHECK (octet_length(digest) = 32)
);
COMMENT ON TABLE identity.security_audit_log IS 'What happened to accounts and sessions, chained per person.';

-- The two ends of each person's chain: what was trimmed off the old end, and the newest event.
CREATE TABLE identity.audit_chains (
    user_id uuid NOT NULL,
    trimmed_number bigint NOT NULL,
    trimmed_digest bytea NOT NULL,
    last_number bigint NOT NULL,
    last_digest bytea NOT NULL,
    CONSTRAINT audit_chains_pkey PRIMARY KEY (user_id),
    CONSTRAINT audit_chains_user_id_fkey FOREIGN KEY (user_id) REFERENCES identity.users (id) ON DELETE CASCADE,
    CONSTRAINT audit_chains_numbers_check CHECK (trimmed_number BETWEEN 0 AND last_number),
    CONSTRAINT audit_chains_digests_check CHECK (octet_length(trimmed_digest) = 32 AND octet_length(last_digest) = 32)
);
COMMENT ON TABLE identity.audit_chains IS 'Where each person''s audit log begins and ends.';

ALTER TABLE identity.security_audit_log ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE identity.audit_chains ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

-- People read their own; the service reads all of it, to verify the chains.
GRANT SELECT (user_id, number, event, refused, service, session_id, occurred_at)
    ON identity.security_audit_log TO identity_user;
CREATE POLICY security_audit_log_user_select ON identity.security_audit_log FOR SELECT TO identity_user
    USING (user_id = (SELECT auth.uid()));
GRANT SELECT ON identity.security_audit_log, identity.audit_chains TO identity_service;
CREATE POLICY security_audit_log_read_by_service ON identity.security_audit_log FOR SELECT TO identity_service
    USING (true);
CREATE POLICY audit_chains_read_by_service ON identity.audit_chains FOR SELECT TO identity_service USING (true);

-- The owner's functions write for the transaction's person, and lock the account while they do.
CREATE POLICY users_own_update ON identity.users FOR UPDATE TO identity_owner
    USING (id = (SELECT auth.uid())) WITH CHECK (id = (SELECT auth.uid()));
CREATE POLICY security_audit_log_own_insert ON identity.security_audit_log FOR INSERT TO identity_owner
    WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY security_audit_log_own_select ON identity.security_audit_log FOR SELECT TO identity_owner
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY audit_chains_own_insert ON identity.audit_chains FOR INSERT TO identity_owner
    WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY audit_chains_own_select ON identity.audit_chains FOR SELECT TO identity_owner
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY audit_chains_own_update ON identity.audit_chains FOR UPDATE TO identity_owner
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));

-- An event's line: its fields with `|` between them; those that are absent are empty. The service, which is the one
-- text that others choose, is last, so no two events have one line. `identity audit verify` makes the same line.
CREATE FUNCTION identity.audit_digest(
    previous bytea, person uuid, number bigint, event text, refused boolean, service text, session_id uuid,
    network_mac bytea, at timestamptz
) RETURNS bytea
    LANGUAGE sql IMMUTABLE SECURITY INVOKER
    RETURN sha256(previous || convert_to(concat_ws('|',
        person::text, number::text, event, CASE WHEN refused THEN 'refused' ELSE 'done' END,
        coalesce(session_id::text, ''), coalesce(encode(network_mac, 'hex'), ''),
        (extract(epoch FROM at) * 1000000)::bigint::text, coalesce(service, '')
    ), 'UTF8'));

-- Appends an event to the chain of the transaction's person. The end of the chain is locked, so events of one person
-- come one after another; other people's do not wait.
CREATE FUNCTION identity.append_audit_event(
    event text, refused boolean, service text, session_id uuid, network_mac bytea, at timestamptz
) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    person CONSTANT uuid := auth.uid();
    genesis CONSTANT bytea := '\x0000000000000000000000000000000000000000000000000000000000000000';
BEGIN
    -- The account first, as everybody does who locks both: the event's foreign key would lock it last, and an erasure,
    -- which begins with the account, could wait for us while we wait for it.
    PERFORM FROM identity.users AS u WHERE u.id = person FOR KEY SHARE;
    WITH chain AS (
        INSERT INTO identity.audit_chains AS c
            (user_id, trimmed_number, trimmed_digest, last_number, last_digest)
            VALUES (person, 0, genesis, 1, identity.audit_digest(genesis, person, 1,
                append_audit_event.event, append_audit_event.refused, append_audit_event.service,
                append_audit_event.session_id, append_audit_event.network_mac, append_audit_event.at))
        ON CONFLICT (user_id) DO UPDATE SET
            last_number = c.last_number + 1,
            last_digest = identity.audit_digest(c.last_digest, person, c.last_number + 1,
                append_audit_event.event, append_audit_event.refused, append_audit_event.service,
                append_audit_event.session_id, append_audit_event.network_mac, append_audit_event.at)
        RETURNING last_number, last_digest
    )
    INSERT INTO identity.security_audit_log
        (user_id, number, event, refused, service, session_id, network_mac, occurred_at, digest)
        SELECT person, chain.last_number, append_audit_event.event, append_audit_event.refused,
            append_audit_event.service, append_audit_event.session_id, append_audit_event.network_mac,
            append_audit_event.at, chain.last_digest
        FROM chain;
END
$$;
COMMENT ON FUNCTION identity.append_audit_event(text, boolean, text, uuid, bytea, timestamptz) IS
    'Appends an event to the audit log of the transaction''s person.';
GRANT EXECUTE ON FUNCTION identity.append_audit_event(text, boolean, text, uuid, bytea, timestamptz)
    TO identity_anon, identity_user, identity_service;

-- A wrong password: counted against the account it was tried on, and, where there is such an account, in its log. So that
-- nobody learns from the time who has an account, the commit waits for no disk, which it otherwise would where there is
-- something to log; what is left is a fraction of a millisecond beside a hash of several, and few attempts to measure it
-- by. A crash of Postgres may lose what the last moment wrote.
CREATE FUNCTION identity.note_failed_sign_in(account bytea, service text, network_mac bytea, at timestamptz)
    RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM identity.note_failure(note_failed_sign_in.account);
    IF auth.uid() IS NOT NULL THEN
        PERFORM identity.append_audit_event('sign_in', true, note_failed_sign_in.service, NULL,
            note_failed_sign_in.network_mac, note_failed_sign_in.at);
    END IF;
END
$$;
COMMENT ON FUNCTION identity.note_failed_sign_in(bytea, text, bytea, timestamptz) IS
    'Counts a wrong password, and logs it where the transaction has a person.';
GRANT EXECUTE ON FUNCTION identity.note_failed_sign_in(bytea, text, bytea, timestamptz) TO identity_service;

-- Retention trims the old end: whole beginnings of chains, so that what is left verifies from the digest of the last
-- event that was trimmed. This and erasure are the only ways in which an event ever goes. The owner sees other
-- people's events while a function says that it is trimming; other roles may say so too, and these policies do not
-- bind them.
CREATE POLICY security_audit_log_trim_select ON identity.security_audit_log FOR SELECT TO identity_owner
    USING ((SELECT current_setting('identity.trimming', true)) = 'on');
CREATE POLICY security_audit_log_trim_delete ON identity.security_audit_log FOR DELETE TO identity_owner
    USING ((SELECT current_setting('identity.trimming', true)) = 'on' AND occurred_at < now() - interval '1 day');
CREATE POLICY audit_chains_trim_select ON identity.audit_chains FOR SELECT TO identity_owner
    USING ((SELECT current_setting('identity.trimming', true)) = 'on');
CREATE POLICY audit_chains_trim_update ON identity.audit_chains FOR UPDATE TO identity_owner
    USING ((SELECT current_setting('identity.trimming', true)) = 'on')
    WITH CHECK ((SELECT current_setting('identity.trimming', true)) = 'on');
-- BRIN: events come in the order of time, and an index of a few pages finds the old ones.
CREATE INDEX security_audit_log_occurred_at_idx ON identity.security_audit_log USING brin (occurred_at);

-- By this server's clock, and never the last day: a replica whose clock is fast must not be able to empty the log.
CREATE FUNCTION identity.trim_audit_log(retention interval, people integer) RETURNS bigint
    LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    before CONSTANT timestamptz := now() - greatest(trim_audit_log.retention, interval '1 day');
    person uuid;
    cut bigint;
    deleted bigint;
    total bigint := 0;
BEGIN
    PERFORM set_config('identity.trimming', 'on', true);
    FOR person IN
        SELECT DISTINCT l.user_id FROM identity.security_audit_log AS l
        WHERE l.occurred_at < before LIMIT trim_audit_log.people
    LOOP
        PERFORM FROM identity.audit_chains AS c WHERE c.user_id = person FOR UPDATE;
        -- Up to the first event that stays, by its place: two clocks may have put times out of order.
        SELECT coalesce(
            min(l.number) FILTER (WHERE l.occurred_at >= before) - 1, max(l.number)
        ) INTO cut FROM identity.security_audit_log AS l WHERE l.user_id = person;
        UPDATE identity.audit_chains AS c SET trimmed_number = l.number, trimmed_digest = l.digest
            FROM identity.security_audit_log AS l
            WHERE c.user_id = person AND l.user_id = person AND l.number = cut;
        DELETE FROM identity.security_audit_log AS l WHERE l.user_id = person AND l.number <= cut;
        GET DIAGNOSTICS deleted = ROW_COUNT;
        total := total + deleted;
    END LOOP;
    PERFORM set_config('identity.trimming', '', true);
    RETURN total;
END
$$;
COMMENT ON FUNCTION identity.trim_audit_log(interval, integer) IS
    'Deletes events that are older than that, of so many people at most. Answers how many.';
GRANT EXECUTE ON FUNCTION identity.trim_audit_log(interval, integer) TO identity_service;

SET LOCAL row_security = on;
