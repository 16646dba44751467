SET LOCAL row_security = off;

DROP FUNCTION data.get_record_1(uuid, uuid, uuid);
DROP FUNCTION data.read_changes_1(uuid, uuid, bigint, bigint);

SET LOCAL row_security = on;
