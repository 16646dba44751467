SET LOCAL row_security = off;

-- Accounts without an address, and hashes of other algorithms, do not fit into what was before. Nothing is thrown
-- away here: with such a row, the constraints below fail and say so.
DROP FUNCTION identity.own_credential();
DROP POLICY users_own_select ON identity.users;
DROP FUNCTION identity.find_credential(text);
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

DROP POLICY requests_service_insert ON identity.requests;
DROP POLICY requests_service_select ON identity.requests;
REVOKE ALL ON identity.requests FROM identity_service;
DROP POLICY users_service_update ON identity.users;
DROP POLICY users_read_by_service ON identity.users;
REVOKE ALL ON identity.users FROM identity_service;
REVOKE SELECT (
    id, email, email_canonical, goals, stage, graduated_at, last_active_at, created_at, updated_at, version
), UPDATE (stage, graduated_at, updated_at, version) ON identity.users FROM identity_service;
REVOKE UPDATE (goals, password_hash, password_version, updated_at, version) ON identity.users FROM identity_user;
REVOKE SELECT (password_version) ON identity.users FROM identity_user;
DROP INDEX identity.users_stage_idx;
DROP INDEX identity.users_created_at_idx;

ALTER TABLE identity.users
    DROP CONSTRAINT users_password_version_check,
    DROP CONSTRAINT users_graduated_at_check,
    DROP CONSTRAINT users_goals_check,
    ADD CONSTRAINT users_goals_check CHECK (
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
    DROP CONSTRAINT users_credential_check,
    DROP CONSTRAINT users_password_hash_check,
    ADD CONSTRAINT users_password_hash_check CHECK (password_hash LIKE '$argon2id$%'),
    DROP COLUMN password_version,
    ALTER COLUMN password_hash SET NOT NULL,
    ALTER COLUMN email_canonical SET NOT NULL,
    ALTER COLUMN email SET NOT NULL;

SET LOCAL row_security = on;
