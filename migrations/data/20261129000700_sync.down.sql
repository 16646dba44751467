SET LOCAL row_security = off;

DROP FUNCTION data.registered_device(bytea[]);
ALTER TABLE data.device_key DROP COLUMN encrypted_label;

-- The epoch is computed again, so every device pulls everything again.
CREATE OR REPLACE FUNCTION data.begin_sync_epoch() RETURNS bigint
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

CREATE OR REPLACE FUNCTION data.sync_epoch() RETURNS uuid
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    RETURN md5(concat_ws('/', (SELECT s.system_identifier FROM pg_control_system() AS s),
        left(pg_walfile_name(pg_current_wal_lsn()), 8),
        (SELECT e.id FROM data.sync_epochs AS e ORDER BY e.number DESC LIMIT 1)))::uuid;
END
$$;

DROP FUNCTION data.current_timeline();
ALTER TABLE data.sync_epochs DROP COLUMN timeline, DROP COLUMN system_identifier;
COMMENT ON TABLE data.sync_epochs IS 'When operators said that the database had been restored.';

SET LOCAL row_security = on;
