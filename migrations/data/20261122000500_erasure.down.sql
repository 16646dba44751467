SET LOCAL row_security = off;

DROP FUNCTION data.erase_user(timestamptz);
DROP FUNCTION data.provision_user(timestamptz);
DROP TABLE data.tombstones;
DROP POLICY requests_erase ON data.requests;
DROP POLICY conversations_erase ON data.conversations;
DROP POLICY conversation_counters_erase ON data.conversation_counters;
DROP POLICY users_erase_delete ON data.users;
DROP POLICY users_erase_update ON data.users;
DROP POLICY users_erase_insert ON data.users;
DROP POLICY users_erase_select ON data.users;

SET LOCAL row_security = on;
