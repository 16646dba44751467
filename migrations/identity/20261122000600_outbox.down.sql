SET LOCAL row_security = off;

DROP VIEW identity.outbox_metadata;
DROP TABLE identity.outbox;

SET LOCAL row_security = on;
