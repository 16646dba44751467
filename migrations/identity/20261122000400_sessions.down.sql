SET LOCAL row_security = off;

DROP TABLE identity.sessions;

SET LOCAL row_security = on;
