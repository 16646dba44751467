SET LOCAL row_security = off;

DROP FUNCTION identity.knows_sign_in(uuid, uuid, bytea[]);
DROP POLICY requests_find_sign_in ON identity.requests;

SET LOCAL row_security = on;
