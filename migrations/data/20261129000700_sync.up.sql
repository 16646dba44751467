-- oldest_binary: 20261129000600
SET LOCAL row_security = off;

-- An epoch has a random id for each start of a timeline. Two restores of one archive can have the same system identifier and
-- the same timeline, and begin two histories. A row is written on the timeline that it names, so a history that has the row
-- went through it, and each other history on a timeline with that number has a row and an id of its own.
ALTER TABLE data.sync_epochs
    ADD COLUMN system_identifier bigint,
    ADD COLUMN timeline bigint,
    ADD CONSTRAINT sync_epochs_history_check CHECK ((system_identifier IS NULL) = (timeline IS NULL));
COMMENT ON TABLE data.sync_epochs IS 'The histories of changes that this database told: one for each start of a timeline.';
COMMENT ON COLUMN data.sync_epochs.system_identifier IS
    'The cluster in which the epoch began; NULL for epochs from before this column.';
COMMENT ON COLUMN data.sync_epochs.timeline IS 'The timeline on which the epoch began; NULL for epochs from before this column.';

-- From the log's position: the control file has the timeline of the last checkpoint, which is behind after a promotion.
CREATE FUNCTION data.current_timeline() RETURNS bigint
    LANGUAGE plpgsql STABLE SECURITY INVOKER SET search_path = ''
    AS $$
BEGIN
    RETURN ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint;
END
$$;
COMMENT ON FUNCTION data.current_timeline() IS 'The timeline that this server writes. Fails on a standby.';

-- Devices keep their epoch across the upgrade. The function from before computes it with MD5, which a server in FIPS mode does
-- not have: there no device could be registered, and an epoch is as good as any other.
ALTER TABLE data.device_key NO FORCE ROW LEVEL SECURITY;
ALTER TABLE data.sync_epochs NO FORCE ROW LEVEL SECURITY;
DO $$
DECLARE
    epoch uuid;
BEGIN
    IF EXISTS (SELECT FROM data.device_key) THEN
        BEGIN
            epoch := data.sync_epoch();
        EXCEPTION WHEN others THEN
            epoch := gen_random_uuid();
        END;
        INSERT INTO data.sync_epochs (number, id, began_at, system_identifier, timeline)
            SELECT coalesce(max(e.number), 0) + 1, epoch, now(),
                (SELECT s.system_identifier FROM pg_control_system() AS s), data.current_timeline()
            FROM data.sync_epochs AS e;
    END IF;
END
$$;
ALTER TABLE data.device_key FORCE ROW LEVEL SECURITY;
ALTER TABLE data.sync_epochs FORCE ROW LEVEL SECURITY;

-- The first transaction on a timeline that asks begins the epoch. Of several at once, the first one does, and the others wait
-- until it has committed. A standby tells the history of its primary, as far as it has received it.
CREATE OR REPLACE FUNCTION data.sync_epoch() RETURNS uuid
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    cluster_id CONSTANT bigint := (SELECT s.system_identifier FROM pg_control_system() AS s);
    newest record;
BEGIN
    LOOP
        SELECT e.number, e.id, e.system_identifier, e.timeline INTO newest
            FROM data.sync_epochs AS e ORDER BY e.number DESC LIMIT 1;
        EXIT WHEN pg_is_in_recovery();
        EXIT WHEN newest.system_identifier = cluster_id AND newest.timeline = data.current_timeline();
        INSERT INTO data.sync_epochs (number, began_at, system_identifier, timeline)
            VALUES (coalesce(newest.number, 0) + 1, now(), cluster_id, data.current_timeline())
            ON CONFLICT (number) DO NOTHING;
    END LOOP;
    RETURN newest.id;
END
$$;

CREATE OR REPLACE FUNCTION data.begin_sync_epoch() RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY INVOKER SET search_path = ''
    AS $$
DECLARE
    epoch bigint;
BEGIN
    LOOP
        INSERT INTO data.sync_epochs (number, began_at, system_identifier, timeline)
            SELECT coalesce(max(e.number), 0) + 1, now(),
                (SELECT s.system_identifier FROM pg_control_system() AS s), data.current_timeline()
            FROM data.sync_epochs AS e
            ON CONFLICT (number) DO NOTHING
            RETURNING number INTO epoch;
        EXIT WHEN epoch IS NOT NULL;
    END LOOP;
    RETURN epoch;
END
$$;

-- What a person calls the device, as their devices encrypted it: at least the nonce and the tag of an AEAD, so that a name in
-- the clear is refused.
ALTER TABLE data.device_key
    ADD COLUMN encrypted_label bytea,
    ADD CONSTRAINT device_key_encrypted_label_check CHECK (octet_length(encrypted_label) BETWEEN 28 AND 256);
COMMENT ON COLUMN data.device_key.encrypted_label IS 'The person''s name for the device, encrypted by their devices; NULL without one.';
GRANT SELECT (encrypted_label), UPDATE (encrypted_label) ON data.device_key TO data_user;

-- The hashes themselves are selectable by no role.
CREATE FUNCTION data.registered_device(hashes bytea[]) RETURNS uuid
    LANGUAGE plpgsql STABLE STRICT SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    RETURN (SELECT d.id FROM data.device_key AS d
        WHERE d.user_id = (SELECT auth.uid()) AND d.status <> 'revoked' AND d.device_id_hash = ANY (registered_device.hashes)
        LIMIT 1);
END
$$;
COMMENT ON FUNCTION data.registered_device(bytea[]) IS
    'The device of the transaction''s person that is registered for an installation, and not revoked.';
GRANT EXECUTE ON FUNCTION data.registered_device(bytea[]) TO data_user;

SET LOCAL row_security = on;
