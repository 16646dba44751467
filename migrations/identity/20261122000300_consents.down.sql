SET LOCAL row_security = off;

DROP TABLE identity.consents;

SET LOCAL row_security = on;
