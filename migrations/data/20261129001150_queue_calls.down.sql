SET LOCAL row_security = off;

DROP FUNCTION data.complete_jobs_1(
    uuid[], uuid[], bytea[], smallint[], uuid[], bytea[], text[], smallint[], text[], text[], text[], timestamptz
);
DROP FUNCTION data.lease_jobs_1(
    uuid, uuid[], integer, text, double precision, smallint[], double precision[], double precision[], bigint, bigint
);

SET LOCAL row_security = on;
