-- oldest_binary: 20261129000400
SET LOCAL row_security = off;

-- For knows_sign_in alone, and no wider than the row that it names: one sign-in of one person.
CREATE POLICY requests_find_sign_in ON identity.requests FOR SELECT TO identity_owner
    USING (
        method = 'SignIn'
        AND user_id = (SELECT nullif(current_setting('identity.wanted_user', true), '')::uuid)
        AND id = (SELECT nullif(current_setting('identity.wanted_sign_in', true), '')::uuid)
    );

-- A retry is recognized before the limits, which may be used up since the first try. Whether the caller knows the password is
-- not looked at here. `payload_macs` are the hashes of the request under each key of the ring. Does the same work for an
-- address without an account, where `person` is NULL.
CREATE FUNCTION identity.knows_sign_in(person uuid, request_id uuid, payload_macs bytea[]) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    wanted CONSTANT uuid := coalesce(knows_sign_in.person, '00000000-0000-0000-0000-000000000000');
    known boolean;
BEGIN
    PERFORM set_config('identity.wanted_user', wanted::text, true),
        set_config('identity.wanted_sign_in', knows_sign_in.request_id::text, true);
    known := EXISTS (SELECT FROM identity.requests AS r
        WHERE r.user_id = wanted AND r.id = knows_sign_in.request_id AND r.method = 'SignIn'
            AND r.payload_mac = ANY (knows_sign_in.payload_macs));
    PERFORM set_config('identity.wanted_user', '', true), set_config('identity.wanted_sign_in', '', true);
    RETURN known;
END
$$;
COMMENT ON FUNCTION identity.knows_sign_in(uuid, uuid, bytea[]) IS
    'Whether the person signed in with this request before.';
GRANT EXECUTE ON FUNCTION identity.knows_sign_in(uuid, uuid, bytea[]) TO identity_anon;

SET LOCAL row_security = on;
