-- oldest_binary: 20261129000600
SET LOCAL row_security = off;

-- ProvisionUser, which a sign-up waits for, in one round trip: see "Calls in one round trip" in migrations/README.md.
CREATE FUNCTION data.provision_user_1(caller uuid, limits text, at timestamptz) RETURNS TABLE (since timestamptz)
    LANGUAGE plpgsql VOLATILE ROWS 1 SECURITY INVOKER SET search_path = ''
    AS $$
DECLARE
    context text;
BEGIN
    context := pg_catalog.set_config('request.jwt.claims', '{"sub":"' || caller || '"}', true);
    context := pg_catalog.set_config('data.limits', limits, true);
    context := pg_catalog.set_config('role', 'data_service', true);
    since := data.provision_user(at);
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION data.provision_user_1(uuid, text, timestamptz) IS
    'ProvisionUser: makes the person known, and returns since when they are.';
REVOKE EXECUTE ON FUNCTION data.provision_user_1(uuid, text, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION data.provision_user_1(uuid, text, timestamptz) TO data_worker;

SET LOCAL row_security = on;
