SET LOCAL row_security = off;

DROP FUNCTION data.provision_user_1(uuid, text, timestamptz);

SET LOCAL row_security = on;
