SET LOCAL row_security = off;

-- Accounts. A person's own table: its key is the person, where every other table has (user_id, id). No
-- timestamp has a default anywhere: the services carry their own clock, and two clocks in one row disagree.
CREATE TABLE identity.users (
    id uuid NOT NULL,
    email text NOT NULL,
    email_canonical text NOT NULL,
    password_hash text NOT NULL,
    goals text[] NOT NULL,
    stage smallint NOT NULL DEFAULT 1,
    graduated_at timestamptz,
    last_active_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    CONSTRAINT users_pkey PRIMARY KEY (id),
    -- The one index that must tell people apart across all of them; sign-up answers EMAIL_TAKEN from it.
    CONSTRAINT users_email_canonical_key UNIQUE (email_canonical),
    -- An address has at most 254 octets (RFC 5321); canonical forms may grow. The services' limits are
    -- narrower.
    CONSTRAINT users_email_check CHECK (octet_length(email) BETWEEN 3 AND 1024),
    CONSTRAINT users_email_canonical_check CHECK (octet_length(email_canonical) BETWEEN 3 AND 1024),
    -- Whatever else goes wrong, a password is never stored as it was typed.
    CONSTRAINT users_password_hash_check CHECK (password_hash LIKE '$argon2id$%'),
    -- A set: as many elements as known goals among them, so none unknown, none twice, none NULL, and at least
    -- one.
    CONSTRAINT users_goals_check CHECK (
        cardinality(goals) > 0
        AND array_ndims(goals) = 1
        AND cardinality(goals) =
            (goals @> ARRAY['build_confidence'])::int
            + (goals @> ARRAY['make_friends'])::int
            + (goals @> ARRAY['improve_conversations'])::int
            + (goals @> ARRAY['overcome_anxiety'])::int
            + (goals @> ARRAY['join_activities'])::int
            + (goals @> ARRAY['dating_skills'])::int
            + (goals @> ARRAY['roommate_relations'])::int
    ),
    CONSTRAINT users_stage_check CHECK (stage BETWEEN 1 AND 3),
    CONSTRAINT users_version_check CHECK (version >= 1)
);
COMMENT ON TABLE identity.users IS 'Accounts: one row per person.';

ALTER TABLE identity.users ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

-- Sign-up: the transaction carries the id of the person it is about to create. It reads nothing back.
GRANT INSERT ON identity.users TO identity_anon;
CREATE POLICY users_anon_insert ON identity.users FOR INSERT TO identity_anon
    WITH CHECK (id = (SELECT auth.uid()));

-- Every column but password_hash, which no role may select.
GRANT SELECT (
    id, email, email_canonical, goals, stage, graduated_at, last_active_at, created_at, updated_at, version
) ON identity.users TO identity_user;
CREATE POLICY users_user_select ON identity.users FOR SELECT TO identity_user
    USING (id = (SELECT auth.uid()));

GRANT UPDATE (last_active_at) ON identity.users TO identity_user;
CREATE POLICY users_user_update ON identity.users FOR UPDATE TO identity_user
    USING (id = (SELECT auth.uid())) WITH CHECK (id = (SELECT auth.uid()));

-- Sign-in looks for an account before it has a caller, and needs the hash that nobody may select: so it asks
-- a function, which runs as this schema's owner. The owner is forced under RLS too, and needs a policy. USING
-- (true) would open the table to every function this owner will ever have; this policy shows at most one row,
-- and only while a function says which one it is about to read. Other roles may set the setting as they like:
-- the policy does not bind them.
CREATE POLICY users_find_credential ON identity.users FOR SELECT TO identity_owner
    USING (email_canonical = (SELECT nullif(current_setting('identity.wanted_email', true), '')));

-- plpgsql, because its plan is kept for the session, and sign-in is hot. The setting is taken back before
-- returning, so that a second function in the same transaction does not find it.
CREATE FUNCTION identity.find_credential(email_canonical text)
    RETURNS TABLE (user_id uuid, password_hash text)
    LANGUAGE plpgsql VOLATILE STRICT ROWS 1 SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    PERFORM set_config('identity.wanted_email', find_credential.email_canonical, true);
    RETURN QUERY
        SELECT u.id, u.password_hash FROM identity.users u
        WHERE u.email_canonical = find_credential.email_canonical;
    PERFORM set_config('identity.wanted_email', '', true);
END
$$;
COMMENT ON FUNCTION identity.find_credential(text) IS
    'The account of a canonical email address: at most one row.';
GRANT EXECUTE ON FUNCTION identity.find_credential(text) TO identity_anon;

-- What an operator may see of everybody: no address, no hash. The view runs with its reader's rights; the
-- column grant and the policy are the wall, and the view is only the convenience.
GRANT SELECT (id, goals, stage, graduated_at, last_active_at, created_at, version)
    ON identity.users TO haven_readonly;
CREATE POLICY users_readonly_select ON identity.users FOR SELECT TO haven_readonly USING (true);
CREATE VIEW identity.account_metadata WITH (security_invoker = true) AS
    SELECT id, goals, stage, graduated_at, last_active_at, created_at, version FROM identity.users;
GRANT SELECT ON identity.account_metadata TO haven_readonly;

SET LOCAL row_security = on;
