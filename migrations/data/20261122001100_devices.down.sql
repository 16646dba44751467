SET LOCAL row_security = off;

DROP TABLE data.security_audit_log;
DROP VIEW data.device_metadata;
DROP TABLE data.device_key;
DROP FUNCTION data.sync_epoch();
DROP FUNCTION data.begin_sync_epoch();
DROP TABLE data.sync_epochs;
DROP TABLE data.change_counters;

SET LOCAL row_security = on;
