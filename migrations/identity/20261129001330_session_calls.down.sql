SET LOCAL row_security = off;

DROP FUNCTION identity.refresh_session_1(
    uuid, uuid, uuid, text[], text[], uuid, bytea, interval, interval, interval, text, bytea, bytea[], interval[], interval[]
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

SET LOCAL row_security = on;
