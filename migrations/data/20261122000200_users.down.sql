SET LOCAL row_security = off;

DROP VIEW data.user_metadata;
DROP TABLE data.users;

SET LOCAL row_security = on;
