SET LOCAL row_security = off;

DROP FUNCTION data.oldest_binary();

SET LOCAL row_security = on;
