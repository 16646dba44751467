SET LOCAL row_security = off;

-- A person whom another provider signed in has neither an address nor a password here, and says their goals later.
-- A hash may be of another algorithm, from an import, until its person signs in.
ALTER TABLE identity.users
    ALTER COLUMN email DROP NOT NULL,
    ALTER COLUMN email_canonical DROP NOT NULL,
    ALTER COLUMN password_hash DROP NOT NULL,
    -- Counts password changes, and nothing else: whoever checked a password, and then writes in another
    -- transaction, sees by it that the password is still that one.
    ADD COLUMN password_version bigint NOT NULL DEFAULT 1,
    DROP CONSTRAINT users_password_hash_check,
    -- Whatever else goes wrong, a password is never stored as it was typed.
    ADD CONSTRAINT users_password_hash_check CHECK (password_hash ~ '^\$(argon2id|argon2i|scrypt|2a|2b|2y)\$'),
    ADD CONSTRAINT users_credential_check CHECK (num_nonnulls(email, email_canonical, password_hash) IN (0, 3)),
    DROP CONSTRAINT users_goals_check,
    -- A set: as many elements as known goals among them, so none unknown, none twice and none NULL; and at least
    -- one, of whoever signed up here.
    ADD CONSTRAINT users_goals_check CHECK (
        (cardinality(goals) > 0 OR email IS NULL)
        AND coalesce(array_ndims(goals), 1) = 1
        AND cardinality(goals) =
            (goals @> ARRAY['build_confidence'])::int
            + (goals @> ARRAY['make_friends'])::int
            + (goals @> ARRAY['improve_conversations'])::int
            + (goals @> ARRAY['overcome_anxiety'])::int
            + (goals @> ARRAY['join_activities'])::int
            + (goals @> ARRAY['dating_skills'])::int
            + (goals @> ARRAY['roommate_relations'])::int
    ),
    ADD CONSTRAINT users_graduated_at_check CHECK (graduated_at IS NULL OR stage = 3),
    ADD CONSTRAINT users_password_version_check CHECK (password_version >= 1);

-- A list goes through accounts in the order in which they were made, of all stages or of one.
CREATE INDEX users_created_at_idx ON identity.users (created_at, id);
CREATE INDEX users_stage_idx ON identity.users (stage, created_at, id);

-- A person sets their goals, and the hash of their password, which they cannot read.
GRANT SELECT (password_version) ON identity.users TO identity_user;
GRANT UPDATE (goals, password_hash, password_version, updated_at, version) ON identity.users TO identity_user;

-- Services read accounts, and move one person at a time on, whom the transaction carries.
GRANT SELECT (
    id, email, email_canonical, goals, stage, graduated_at, last_active_at, created_at, updated_at, version
) ON identity.users TO identity_service;
GRANT UPDATE (stage, graduated_at, updated_at, version) ON identity.users TO identity_service;
CREATE POLICY users_read_by_service ON identity.users FOR SELECT TO identity_service USING (true);
CREATE POLICY users_service_update ON identity.users FOR UPDATE TO identity_service
    USING (id = (SELECT auth.uid())) WITH CHECK (id = (SELECT auth.uid()));

-- A service's own changes of an account are remembered as everybody's are.
GRANT SELECT, INSERT ON identity.requests TO identity_service;
CREATE POLICY requests_service_select ON identity.requests FOR SELECT TO identity_service
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY requests_service_insert ON identity.requests FOR INSERT TO identity_service
    WITH CHECK (user_id = (SELECT auth.uid()) AND method <> 'SignUp');

-- As before, and with the password's version.
DROP FUNCTION identity.find_credential(text);
CREATE FUNCTION identity.find_credential(email_canonical text)
    RETURNS TABLE (user_id uuid, password_hash text, password_version bigint)
    LANGUAGE plpgsql VOLATILE STRICT ROWS 1 SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    PERFORM set_config('identity.wanted_email', find_credential.email_canonical, true);
    RETURN QUERY
        SELECT u.id, u.password_hash, u.password_version FROM identity.users u
        WHERE u.email_canonical = find_credential.email_canonical;
    PERFORM set_config('identity.wanted_email', '', true);
END
$$;
COMMENT ON FUNCTION identity.find_credential(text) IS
    'The account of a canonical email address: at most one row.';
GRANT EXECUTE ON FUNCTION identity.find_credential(text) TO identity_anon;

-- Whoever changes their password, or deletes their account, proves again that it is they. The functions of this
-- schema's owner see the transaction's person, and nobody else.
CREATE POLICY users_own_select ON identity.users FOR SELECT TO identity_owner USING (id = (SELECT auth.uid()));
CREATE FUNCTION identity.own_credential()
    RETURNS TABLE (email text, email_canonical text, password_hash text, password_version bigint)
    LANGUAGE plpgsql STABLE ROWS 1 SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    RETURN QUERY
        SELECT u.email, u.email_canonical, u.password_hash, u.password_version FROM identity.users u
        WHERE u.id = auth.uid();
END
$$;
COMMENT ON FUNCTION identity.own_credential() IS
    'What proves that it is the transaction''s person: at most one row, NULL for a person of another provider.';
GRANT EXECUTE ON FUNCTION identity.own_credential() TO identity_user;

SET LOCAL row_security = on;
