SET LOCAL row_security = off;

DROP FUNCTION identity.forget_failures(bytea);
DROP FUNCTION identity.note_failure(bytea);
DROP FUNCTION identity.admit(bytea[], interval[], interval[], bytea);
DROP TABLE identity.failures;
DROP TABLE identity.rate_limits;

SET LOCAL row_security = on;
