SET LOCAL row_security = off;

DROP TABLE data.requests;

SET LOCAL row_security = on;
