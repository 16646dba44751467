SET LOCAL row_security = off;

DROP TABLE data.analysis_results;
DROP POLICY conversations_service_select ON data.conversations;
REVOKE SELECT (user_id, id, number, sender_type, message_text, key_id, created_at, updated_at, version)
    ON data.conversations FROM data_service;
DROP FUNCTION data.current_lease();
DROP VIEW data.analysis_job_metadata;
DROP TABLE data.analysis_jobs;
ALTER TABLE data.conversation_counters
    DROP COLUMN pending_messages,
    DROP COLUMN pending_from;

SET LOCAL row_security = on;
