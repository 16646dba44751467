SET LOCAL row_security = off;

DROP FUNCTION identity.find_sign_up(uuid);
DROP POLICY users_find_sign_up ON identity.users;
DROP TABLE identity.requests;

SET LOCAL row_security = on;
