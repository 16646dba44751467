SET LOCAL row_security = off;

DROP TABLE data.healthcare_share_audit;
DROP TABLE data.share_token;
DROP VIEW data.share_metadata;
DROP TABLE data.healthcare_share;
DROP TABLE data.encrypted_user_prefs;
DROP TABLE data.purged_records;
DROP TABLE data.cycle_data_conflicts;
DROP VIEW data.cycle_record_metadata;
DROP TABLE data.encrypted_cycle_data;
DROP TABLE data.envelope_nonces;

SET LOCAL row_security = on;
