SET LOCAL row_security = off;

DROP FUNCTION data.number_crisis_events(integer);
DROP TABLE data.crisis_feed;
DROP TABLE data.crisis_events;

SET LOCAL row_security = on;
