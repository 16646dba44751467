SET LOCAL row_security = off;

DROP FUNCTION identity.note_wrong_password_1(uuid, bytea[], bytea[], interval, interval, text, bytea, timestamptz);
DROP FUNCTION identity.sign_up_1(
    uuid, text, text, text, text[], timestamptz, uuid[], text[], text[], uuid, bytea, jsonb, uuid, integer, interval, text, bytea,
    bytea[], interval[], interval[]
);
DROP FUNCTION identity.begin_sign_up_1(
    uuid, bytea[], bytea[], interval[], interval[], bytea[], interval[], interval[], bytea[]
);
DROP FUNCTION identity.count_call(bytea[], interval[], interval[], bytea[], bytea[], interval, interval);
ALTER FUNCTION identity.admit_call(bytea[], interval[], interval[], bytea[], bytea[], interval, interval) RESET plan_cache_mode;

CREATE OR REPLACE FUNCTION identity.audit_digest(
    previous bytea, person uuid, number bigint, event text, refused boolean, service text, session_id uuid,
    network_mac bytea, at timestamptz
) RETURNS bytea
    LANGUAGE sql IMMUTABLE SECURITY INVOKER
    RETURN sha256(previous || convert_to(concat_ws('|',
        person::text, number::text, event, CASE WHEN refused THEN 'refused' ELSE 'done' END,
        coalesce(session_id::text, ''), coalesce(encode(network_mac, 'hex'), ''),
        (extract(epoch FROM at) * 1000000)::bigint::text, coalesce(service, '')
    ), 'UTF8'));
CREATE OR REPLACE FUNCTION identity.due_time(
    tat timestamptz, kept_emission interval, kept_tolerance interval, tolerance interval, at timestamptz
) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE SECURITY INVOKER
    RETURN CASE
        WHEN tat <= at + kept_emission + kept_tolerance + interval '10 seconds' THEN tat
        ELSE least(tat, at + tolerance)
    END;

SET LOCAL row_security = on;
