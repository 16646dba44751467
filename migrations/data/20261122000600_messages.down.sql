SET LOCAL row_security = off;

DROP POLICY conversations_user_delete ON data.conversations;
DROP POLICY conversations_user_update ON data.conversations;
REVOKE UPDATE (message_text, key_id, updated_at, version), DELETE ON data.conversations FROM data_user;
DROP POLICY requests_service_insert ON data.requests;
DROP POLICY requests_service_select ON data.requests;
REVOKE SELECT, INSERT ON data.requests FROM data_service;
DROP POLICY conversation_counters_service_update ON data.conversation_counters;
DROP POLICY conversation_counters_service_insert ON data.conversation_counters;
DROP POLICY conversation_counters_service_select ON data.conversation_counters;
REVOKE SELECT, INSERT, UPDATE (last_number) ON data.conversation_counters FROM data_service;
DROP POLICY conversations_service_insert ON data.conversations;
REVOKE INSERT ON data.conversations FROM data_service;
ALTER POLICY conversations_user_insert ON data.conversations WITH CHECK (user_id = (SELECT auth.uid()));

SET LOCAL row_security = on;
