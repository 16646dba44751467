SET LOCAL row_security = off;

DROP POLICY cycle_data_conflicts_owner_delete ON data.cycle_data_conflicts;
DROP POLICY encrypted_cycle_data_owner_delete ON data.encrypted_cycle_data;
DROP FUNCTION data.purge_changes(integer, boolean);
DROP FUNCTION data.synced_number();
DROP POLICY envelope_nonces_user_delete ON data.envelope_nonces;
REVOKE DELETE ON data.envelope_nonces FROM data_user;
DROP FUNCTION data.rotate_device_key(uuid, integer, bytea, text, timestamptz);
DROP FUNCTION data.put_preferences(uuid, bigint, bytea, smallint, text, integer, bytea, bytea, integer, integer, integer,
    smallint, timestamptz);
DROP FUNCTION data.resolve_cycle_conflict(uuid, uuid, bigint, uuid[], data.cycle_change, timestamptz);
DROP FUNCTION data.update_cycle_data_optimistic(uuid, uuid, bigint, bytea, smallint, text, integer, bytea, bytea, integer,
    integer, integer, smallint, timestamptz, timestamptz);
DROP FUNCTION data.push_cycle_changes(uuid, data.cycle_change[], boolean, timestamptz);
DROP FUNCTION data.apply_cycle_change(uuid, integer, bigint, data.cycle_change, boolean, boolean, boolean, timestamptz);
DROP FUNCTION data.cycle_change_digest(data.cycle_change);
DROP FUNCTION data.begin_change(uuid, timestamptz);
DROP TYPE data.cycle_outcome;
DROP TYPE data.cycle_change;

SET LOCAL row_security = on;
