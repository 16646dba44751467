SET LOCAL row_security = off;

-- Where each person's changes stand. Whoever changes a record, a conflict, a preference or a device locks this row first,
-- and the person after it: so the numbers of changes have no gaps and become visible in order, whatever clocks say.
--
-- purged_number is the greatest number of a change that is not kept any more: who has not seen that one cannot be told
-- what is gone. Devices are counted here: those that are not revoked, and all that there ever were.
CREATE TABLE data.change_counters (
    user_id uuid NOT NULL,
    last_number bigint NOT NULL DEFAULT 0,
    purged_number bigint NOT NULL DEFAULT 0,
    live_devices integer NOT NULL DEFAULT 0,
    devices integer NOT NULL DEFAULT 0,
    CONSTRAINT change_counters_pkey PRIMARY KEY (user_id),
    -- A first device of somebody who has not been provisioned yet fails here, by this name.
    CONSTRAINT change_counters_user_id_fkey
        FOREIGN KEY (user_id) REFERENCES data.users (id) ON DELETE CASCADE,
    CONSTRAINT change_counters_last_number_check CHECK (last_number >= 0),
    CONSTRAINT change_counters_purged_number_check CHECK (purged_number BETWEEN 0 AND last_number),
    CONSTRAINT change_counters_live_devices_check CHECK (live_devices BETWEEN 0 AND 10),
    CONSTRAINT change_counters_devices_check CHECK (devices BETWEEN live_devices AND 100)
);
COMMENT ON TABLE data.change_counters IS 'The number of each person''s newest change, and how many devices they have.';

ALTER TABLE data.change_counters ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

-- UPDATE of columns: on the table it would be the right to LOCK it.
GRANT SELECT, INSERT, UPDATE (last_number, live_devices, devices) ON data.change_counters TO data_user;
CREATE POLICY change_counters_user_select ON data.change_counters FOR SELECT TO data_user
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY change_counters_user_insert ON data.change_counters FOR INSERT TO data_user
    WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY change_counters_user_update ON data.change_counters FOR UPDATE TO data_user
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY change_counters_owner_select ON data.change_counters FOR SELECT TO data_owner
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY change_counters_owner_update ON data.change_counters FOR UPDATE TO data_owner
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));

-- Which history of changes this database tells. A restored one tells another from the moment that it was restored to:
-- numbers are given out again, and a cursor that was taken in the old one would lead past changes that nobody was shown.
--
-- Postgres itself knows of most restores: every recovery from an archive and every failover begins a timeline, and another
-- cluster is another system. After one that it cannot know of, an operator begins an epoch: after a snapshot of its disk came
-- back, or a dump into the cluster that it is of. Its id is random: the same epoch could be begun twice, in two restores.
--
-- A device whose epoch is another one knows versions of another history, and what it changes over one of them might be over
-- another content than it saw. So it changes nothing until it has read everything anew, and has acknowledged that.
CREATE TABLE data.sync_epochs (
    number bigint NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    began_at timestamptz NOT NULL,
    CONSTRAINT sync_epochs_pkey PRIMARY KEY (number)
);
COMMENT ON TABLE data.sync_epochs IS 'When operators said that the database had been restored.';

ALTER TABLE data.sync_epochs ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

CREATE POLICY sync_epochs_owner_select ON data.sync_epochs FOR SELECT TO data_owner USING (true);
CREATE POLICY sync_epochs_owner_insert ON data.sync_epochs FOR INSERT TO data_owner WITH CHECK (true);

CREATE FUNCTION data.begin_sync_epoch() RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY INVOKER SET search_path = ''
    AS $$
DECLARE
    epoch bigint;
BEGIN
    INSERT INTO data.sync_epochs (number, began_at)
        SELECT coalesce(max(e.number), 0) + 1, now() FROM data.sync_epochs AS e
        RETURNING number INTO epoch;
    RETURN epoch;
END
$$;
COMMENT ON FUNCTION data.begin_sync_epoch() IS
    'Makes every device pull everything again: to be run as data_owner after a restore that Postgres cannot know of.';

CREATE FUNCTION data.sync_epoch() RETURNS uuid
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    RETURN md5(concat_ws('/', (SELECT s.system_identifier FROM pg_control_system() AS s),
        left(pg_walfile_name(pg_current_wal_lsn()), 8),
        (SELECT e.id FROM data.sync_epochs AS e ORDER BY e.number DESC LIMIT 1)))::uuid;
END
$$;
COMMENT ON FUNCTION data.sync_epoch() IS 'Names the history of changes that this database tells.';
GRANT EXECUTE ON FUNCTION data.sync_epoch() TO data_user;

-- People's devices, and the key of each. The server keeps the person's master key as the device wrapped it, and cannot
-- unwrap it. device_id_hash is a keyed hash of what the device calls itself: enough to see that it is registered already.
CREATE TABLE data.device_key (
    user_id uuid NOT NULL,
    id uuid NOT NULL,
    device_id_hash bytea NOT NULL,
    encrypted_master_key bytea,
    key_derivation_path text NOT NULL,
    key_version integer NOT NULL DEFAULT 1,
    next_rotation_at timestamptz NOT NULL,
    status text NOT NULL DEFAULT 'active',
    platform text NOT NULL,
    app_version text NOT NULL,
    last_active_at timestamptz NOT NULL,
    acknowledged_number bigint NOT NULL DEFAULT 0,
    -- The history of changes that what the device knows is of (data.sync_epoch()).
    epoch uuid NOT NULL DEFAULT data.sync_epoch(),
    created_at timestamptz NOT NULL,
    CONSTRAINT device_key_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT device_key_user_id_fkey FOREIGN KEY (user_id) REFERENCES data.users (id) ON DELETE CASCADE,
    CONSTRAINT device_key_device_id_hash_check CHECK (octet_length(device_id_hash) = 32),
    CONSTRAINT device_key_encrypted_master_key_check CHECK (octet_length(encrypted_master_key) BETWEEN 32 AND 1024),
    CONSTRAINT device_key_key_derivation_path_check CHECK (
        octet_length(key_derivation_path) <= 128 AND key_derivation_path ~ '^m(/[0-9]{1,10}''?)*$'),
    CONSTRAINT device_key_key_version_check CHECK (key_version >= 1),
    CONSTRAINT device_key_status_check CHECK (status IN ('active', 'suspended', 'revoked')),
    -- A revoked device needs the master key no more.
    CONSTRAINT device_key_revoked_check CHECK ((status = 'revoked') = (encrypted_master_key IS NULL)),
    CONSTRAINT device_key_platform_check CHECK (platform IN ('ios', 'android', 'web')),
    CONSTRAINT device_key_app_version_check CHECK (octet_length(app_version) BETWEEN 1 AND 64),
    CONSTRAINT device_key_acknowledged_number_check CHECK (acknowledged_number >= 0)
);
COMMENT ON TABLE data.device_key IS 'People''s devices: their wrapped master keys, and what each has acknowledged.';

-- A device is registered once, until it is revoked.
CREATE UNIQUE INDEX device_key_device_id_hash_key ON data.device_key (user_id, device_id_hash) WHERE status <> 'revoked';

ALTER TABLE data.device_key ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

GRANT SELECT (user_id, id, encrypted_master_key, key_derivation_path, key_version, next_rotation_at, status, platform,
        app_version, last_active_at, acknowledged_number, epoch, created_at),
    INSERT,
    UPDATE (encrypted_master_key, key_derivation_path, key_version, next_rotation_at, status, last_active_at,
        acknowledged_number, epoch)
    ON data.device_key TO data_user;
CREATE POLICY device_key_user_select ON data.device_key FOR SELECT TO data_user
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY device_key_user_insert ON data.device_key FOR INSERT TO data_user
    WITH CHECK (user_id = (SELECT auth.uid()));
-- Revoked is for ever.
CREATE POLICY device_key_user_update ON data.device_key FOR UPDATE TO data_user
    USING (user_id = (SELECT auth.uid()) AND status <> 'revoked') WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY device_key_owner_select ON data.device_key FOR SELECT TO data_owner
    USING (user_id = (SELECT auth.uid()));

GRANT SELECT (user_id, id, key_version, next_rotation_at, status, platform, app_version, last_active_at,
    acknowledged_number, created_at) ON data.device_key TO haven_readonly;
CREATE POLICY device_key_readonly_select ON data.device_key FOR SELECT TO haven_readonly USING (true);
CREATE VIEW data.device_metadata WITH (security_invoker = true) AS
    SELECT user_id, id, key_version, next_rotation_at, status, platform, app_version, last_active_at, acknowledged_number,
        created_at
    FROM data.device_key;
GRANT SELECT ON data.device_metadata TO haven_readonly;

-- What people did to their devices, their shares and their data. Nobody may change a row, or delete one but with the
-- person. subject_id is the device or the share; no text is in here.
CREATE TABLE data.security_audit_log (
    user_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    event text NOT NULL,
    subject_id uuid,
    occurred_at timestamptz NOT NULL,
    CONSTRAINT security_audit_log_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT security_audit_log_user_id_fkey FOREIGN KEY (user_id) REFERENCES data.users (id) ON DELETE CASCADE,
    CONSTRAINT security_audit_log_event_check CHECK (event IN ('device_registered', 'device_key_rotated',
        'device_suspended', 'device_revoked', 'share_created', 'share_revoked', 'data_exported'))
);
COMMENT ON TABLE data.security_audit_log IS 'What people did to their devices, shares and data: append-only.';

-- In the order in which a person sees them.
CREATE INDEX security_audit_log_occurred_at_idx ON data.security_audit_log (user_id, occurred_at, id);

ALTER TABLE data.security_audit_log ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

GRANT SELECT, INSERT ON data.security_audit_log TO data_user;
CREATE POLICY security_audit_log_user_select ON data.security_audit_log FOR SELECT TO data_user
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY security_audit_log_user_insert ON data.security_audit_log FOR INSERT TO data_user
    WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY security_audit_log_owner_select ON data.security_audit_log FOR SELECT TO data_owner
    USING (user_id = (SELECT auth.uid()));

SET LOCAL row_security = on;
