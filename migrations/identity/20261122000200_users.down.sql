SET LOCAL row_security = off;

DROP VIEW identity.account_metadata;
DROP FUNCTION identity.find_credential(text);
DROP TABLE identity.users;

SET LOCAL row_security = on;
