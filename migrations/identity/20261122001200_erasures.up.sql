SET LOCAL row_security = off;

-- What stays of an account that was erased: the receipt. It is no child of users, because it outlives the person; it
-- also keeps their id from ever getting an account again. No updated_at or version: completed_at is the one thing
-- that changes, once.
CREATE TABLE identity.erasures (
    user_id uuid NOT NULL,
    -- The request that asked for it, so that its retry gets the same answer.
    request_id uuid NOT NULL,
    -- The service that called, where one did: for the person, or on its own.
    service text,
    requested_at timestamptz NOT NULL,
    -- How many rows there were of each table here; and in data, once it has confirmed.
    erased jsonb NOT NULL,
    data_erased jsonb,
    completed_at timestamptz,
    -- The newest digest of the person's audit log, the deletion's own event: who kept the log can prove it by this.
    audit_digest bytea NOT NULL,
    CONSTRAINT erasures_pkey PRIMARY KEY (user_id),
    CONSTRAINT erasures_service_check CHECK (octet_length(service) BETWEEN 1 AND 255),
    CONSTRAINT erasures_completed_at_check CHECK ((completed_at IS NULL) = (data_erased IS NULL)),
    CONSTRAINT erasures_audit_digest_check CHECK (octet_length(audit_digest) = 32)
);
-- A service that sends one request id for two people has a defect that could not be undone: the second is refused.
CREATE UNIQUE INDEX erasures_service_request_key ON identity.erasures (request_id) WHERE service IS NOT NULL;
COMMENT ON TABLE identity.erasures IS 'Accounts that were erased: receipts, and nothing else of them.';

ALTER TABLE identity.erasures ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

GRANT SELECT ON identity.erasures TO identity_user, identity_service;
CREATE POLICY erasures_user_select ON identity.erasures FOR SELECT TO identity_user
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY erasures_service_select ON identity.erasures FOR SELECT TO identity_service
    USING (user_id = (SELECT auth.uid()));
GRANT UPDATE (data_erased, completed_at) ON identity.erasures TO identity_service;
CREATE POLICY erasures_service_update ON identity.erasures FOR UPDATE TO identity_service
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));

GRANT SELECT (user_id, requested_at, completed_at) ON identity.erasures TO haven_readonly;
CREATE POLICY erasures_readonly_select ON identity.erasures FOR SELECT TO haven_readonly USING (true);
CREATE VIEW identity.erasure_metadata WITH (security_invoker = true) AS
    SELECT user_id, requested_at, completed_at FROM identity.erasures;
GRANT SELECT ON identity.erasure_metadata TO haven_readonly;

-- Data is told of an erasure after there is no account any more. Whoever is becoming a person may only be made known.
ALTER TABLE identity.outbox
    DROP CONSTRAINT outbox_user_id_fkey,
    DROP CONSTRAINT outbox_kind_check,
    ADD CONSTRAINT outbox_kind_check CHECK (kind IN ('provision_user', 'erase_user'));
DROP POLICY outbox_anon_insert ON identity.outbox;
CREATE POLICY outbox_anon_insert ON identity.outbox FOR INSERT TO identity_anon
    WITH CHECK (user_id = (SELECT auth.uid()) AND kind = 'provision_user');

-- The function below sees, counts and deletes what is the transaction's person's, and nobody else's.
CREATE POLICY users_own_delete ON identity.users FOR DELETE TO identity_owner USING (id = (SELECT auth.uid()));
CREATE POLICY refresh_tokens_own_select ON identity.refresh_tokens FOR SELECT TO identity_owner
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY requests_own_select ON identity.requests FOR SELECT TO identity_owner
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY outbox_own_select ON identity.outbox FOR SELECT TO identity_owner
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY outbox_own_delete ON identity.outbox FOR DELETE TO identity_owner
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY outbox_own_insert ON identity.outbox FOR INSERT TO identity_owner
    WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY erasures_own_insert ON identity.erasures FOR INSERT TO identity_owner
    WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY erasures_own_select ON identity.erasures FOR SELECT TO identity_owner
    USING (user_id = (SELECT auth.uid()));

-- Erases the account of the transaction's person: sessions end, the deletion is the last event of their log, rows are
-- counted under a lock and go with the person by their foreign keys, and data is to be told. All of it or nothing.
-- The tables are those of the catalog and not of a list here, so that a later one cannot be forgotten.
CREATE FUNCTION identity.erase_account(
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
COMMENT ON FUNCTION identity.erase_account(uuid, uuid, text, bytea, uuid, timestamptz, timestamptz) IS
    'Erases the account of the transaction''s person, if there is one. Answers the sessions that this ended.';
GRANT EXECUTE ON FUNCTION identity.erase_account(uuid, uuid, text, bytea, uuid, timestamptz, timestamptz)
    TO identity_user, identity_service;

-- An account is made for whom another provider signed in, unless they were erased here: a violation of erasures_pkey
-- says so. Answers whether it was made now.
CREATE FUNCTION identity.make_external_account(message_id uuid, lease_until timestamptz, at timestamptz)
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
CREATE POLICY users_own_insert ON identity.users FOR INSERT TO identity_owner
    WITH CHECK (id = (SELECT auth.uid()));
COMMENT ON FUNCTION identity.make_external_account(uuid, timestamptz, timestamptz) IS
    'Makes an account for the transaction''s person, whom another provider signed in. False: there is one.';
GRANT EXECUTE ON FUNCTION identity.make_external_account(uuid, timestamptz, timestamptz) TO identity_user;

SET LOCAL row_security = on;
