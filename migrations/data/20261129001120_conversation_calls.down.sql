SET LOCAL row_security = off;

DROP FUNCTION data.append_message_by_service_1(uuid, text, uuid, bytea[], uuid, text, text, text, timestamptz);
DROP FUNCTION data.append_message_1(uuid, text, uuid, bytea[], uuid, text, text, text, timestamptz, jsonb, uuid, smallint, smallint);
DROP FUNCTION data.list_messages_1(uuid, bigint, bigint, boolean, bigint);
DROP FUNCTION data.get_message_1(uuid, uuid);

SET LOCAL row_security = on;
