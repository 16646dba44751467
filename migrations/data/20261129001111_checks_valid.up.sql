-- oldest_binary: 20261129000600
SET LOCAL row_security = off;

-- In a transaction of its own: it reads whole tables, and changes of rows go on meanwhile.
ALTER TABLE data.conversations VALIDATE CONSTRAINT conversations_rules;
ALTER TABLE data.analysis_jobs VALIDATE CONSTRAINT analysis_jobs_rules;
ALTER TABLE data.analysis_results VALIDATE CONSTRAINT analysis_results_rules;
ALTER TABLE data.device_key VALIDATE CONSTRAINT device_key_rules;
ALTER TABLE data.encrypted_cycle_data VALIDATE CONSTRAINT encrypted_cycle_data_rules;
ALTER TABLE data.encrypted_cycle_data VALIDATE CONSTRAINT envelope_rules;
ALTER TABLE data.cycle_data_conflicts VALIDATE CONSTRAINT cycle_data_conflicts_rules;
ALTER TABLE data.cycle_data_conflicts VALIDATE CONSTRAINT envelope_rules;
ALTER TABLE data.encrypted_user_prefs VALIDATE CONSTRAINT encrypted_user_prefs_rules;
ALTER TABLE data.encrypted_user_prefs VALIDATE CONSTRAINT envelope_rules;
ALTER TABLE data.healthcare_share VALIDATE CONSTRAINT healthcare_share_rules;
ALTER TABLE data.healthcare_share VALIDATE CONSTRAINT envelope_rules;

SET LOCAL row_security = on;
