SET LOCAL row_security = off;

-- Mutations that were applied, with their answers: a retry of the same request_id gets the same answer.
-- payload_mac tells a retry from a reuse of its id for something else; being keyed, it betrays no content.
CREATE TABLE identity.requests (
    user_id uuid NOT NULL,
    id uuid NOT NULL,
    method text NOT NULL,
    payload_mac bytea NOT NULL,
    answer jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT requests_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT requests_user_id_fkey FOREIGN KEY (user_id) REFERENCES identity.users (id) ON DELETE CASCADE,
    CONSTRAINT requests_method_check CHECK (octet_length(method) BETWEEN 1 AND 64),
    CONSTRAINT requests_payload_mac_check CHECK (octet_length(payload_mac) = 32)
);
COMMENT ON TABLE identity.requests IS 'Idempotency: each applied request_id with its answer.';

-- Whoever retries a sign-up has no person yet whose requests could be searched, so these ids are unique among
-- themselves. The policies below keep the method for sign-up alone: no person can probe this index for other
-- ids.
CREATE UNIQUE INDEX requests_sign_up_key ON identity.requests (id) WHERE method = 'SignUp';

ALTER TABLE identity.requests ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

GRANT INSERT ON identity.requests TO identity_anon;
CREATE POLICY requests_anon_insert ON identity.requests FOR INSERT TO identity_anon
    WITH CHECK (user_id = (SELECT auth.uid()) AND method = 'SignUp');

GRANT SELECT, INSERT ON identity.requests TO identity_user;
CREATE POLICY requests_user_select ON identity.requests FOR SELECT TO identity_user
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY requests_user_insert ON identity.requests FOR INSERT TO identity_user
    WITH CHECK (user_id = (SELECT auth.uid()) AND method <> 'SignUp');

-- For find_sign_up alone, and no wider than the row it has named, as with find_credential: one sign-up by its
-- request id, and then the account that it made, by its person.
CREATE POLICY requests_find_sign_up ON identity.requests FOR SELECT TO identity_owner
    USING (
        method = 'SignUp'
        AND id = (SELECT nullif(current_setting('identity.wanted_sign_up', true), '')::uuid)
    );
CREATE POLICY users_find_sign_up ON identity.users FOR SELECT TO identity_owner
    USING (id = (SELECT nullif(current_setting('identity.wanted_user', true), '')::uuid));

-- The hash is part of the answer because payload_mac leaves the password out: a retry has to know the
-- password too before it learns what the first one was answered.
CREATE FUNCTION identity.find_sign_up(request_id uuid)
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
COMMENT ON FUNCTION identity.find_sign_up(uuid) IS
    'The sign-up with this request_id, and its account''s hash: at most one row.';
GRANT EXECUTE ON FUNCTION identity.find_sign_up(uuid) TO identity_anon;

SET LOCAL row_security = on;
