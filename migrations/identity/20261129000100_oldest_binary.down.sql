SET LOCAL row_security = off;

DROP FUNCTION identity.oldest_binary();

SET LOCAL row_security = on;
