SET LOCAL row_security = off;

DROP FUNCTION identity.refresh_session_1(
    uuid, uuid, uuid, text[], text[], uuid, bytea, interval, interval, interval, text, bytea, bytea[], interval[], interval[], timestamptz
);
DROP FUNCTION identity.begin_refresh_1(bytea[], bytea[], interval[], interval[]);
DROP FUNCTION identity.sign_in_1(
    uuid, uuid, bytea, jsonb, timestamptz, bigint, uuid, timestamptz, timestamptz, timestamptz, uuid, bytea, bytea[], text, bytea,
    uuid, bytea, bytea, timestamptz, integer, integer, text[], text[], boolean, text
);
DROP FUNCTION identity.begin_sign_in_1(
    text, bytea[], timestamptz, uuid, bytea[], bytea[], interval[], interval[], bytea[], interval[], interval[], bytea[], bytea[],
    interval[], interval[], bytea[], bytea[], bytea[], interval, interval
);

CREATE OR REPLACE FUNCTION identity.find_sign_in(email_canonical text, devices bytea[], at timestamptz)
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

SET LOCAL row_security = on;
