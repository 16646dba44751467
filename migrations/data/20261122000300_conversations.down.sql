SET LOCAL row_security = off;

DROP VIEW data.conversation_metadata;
DROP TABLE data.conversations;
DROP TABLE data.conversation_counters;

SET LOCAL row_security = on;
