SET LOCAL row_security = off;

-- How cycle records and preferences change. The functions run with their caller's rights, on the transaction's person,
-- and are what the service calls: whoever has psql and the role data_user does the same with them.

-- One change of one record, as a device sends it. Deleted: without an envelope and a payload. conflict_id is the id that
-- the change is kept under if it loses.
CREATE TYPE data.cycle_change AS (
    record_id uuid,
    expected_version bigint,
    deleted boolean,
    encrypted_payload bytea,
    envelope_version smallint,
    algorithm text,
    key_version integer,
    nonce bytea,
    salt bytea,
    kdf_memory_kib integer,
    kdf_iterations integer,
    kdf_parallelism integer,
    associated_data_version smallint,
    local_timestamp timestamptz,
    conflict_id uuid
);
GRANT USAGE ON TYPE data.cycle_change TO data_user;

-- What became of a change.
--
-- outcome: 'applied'; 'already_applied', by the same change before; 'conflict', because the record has another version;
-- 'deleted', because it is a tombstone; or the change is refused: 'not_found', 'nonce_reused', 'key_version_stale' and
-- 'key_version_unknown'.
--
-- version is the record's: the one that the change made, or the one that stands against it; null where nothing is kept of
-- the record but that it is deleted. change_number is the last number that the change took. conflict_id is where the change
-- is kept that lost. key_version is the one that the device's key has, where the change has another.
CREATE TYPE data.cycle_outcome AS (
    outcome text,
    version bigint,
    change_number bigint,
    changed_at timestamptz,
    conflict_id uuid,
    key_version integer
);
GRANT USAGE ON TYPE data.cycle_outcome TO data_user;

-- What a change says: equal for the same one, sent again.
CREATE FUNCTION data.cycle_change_digest(change data.cycle_change) RETURNS bytea
    LANGUAGE plpgsql STABLE SECURITY INVOKER SET search_path = ''
    AS $$
BEGIN
    IF change.deleted THEN
        RETURN sha256(convert_to(concat_ws('|', 'deletion', change.record_id, change.expected_version,
            extract(epoch FROM change.local_timestamp)), 'UTF8'));
    END IF;
    RETURN sha256(change.encrypted_payload || convert_to(concat_ws('|', change.record_id, change.expected_version,
        change.envelope_version, change.algorithm, encode(change.salt, 'hex'), change.kdf_memory_kib,
        change.kdf_iterations, change.kdf_parallelism, change.associated_data_version,
        extract(epoch FROM change.local_timestamp)), 'UTF8'));
END
$$;
COMMENT ON FUNCTION data.cycle_change_digest(data.cycle_change) IS 'Tells one change of a record from another.';
GRANT EXECUTE ON FUNCTION data.cycle_change_digest(data.cycle_change) TO data_user;

-- The state of a person's changes and of the device that makes one, under the lock that puts changes in order. status is
-- null where there is no such device, and 'behind' where an active one is in another epoch.
CREATE FUNCTION data.begin_change(device uuid, at timestamptz)
    RETURNS TABLE (last_number bigint, status text, key_version integer, next_rotation_at timestamptz)
    LANGUAGE plpgsql VOLATILE ROWS 1 SECURITY INVOKER SET search_path = ''
    AS $$
DECLARE
    person CONSTANT uuid := auth.uid();
    number bigint;
BEGIN
    SELECT c.last_number INTO number FROM data.change_counters AS c WHERE c.user_id = person FOR NO KEY UPDATE;
    -- Written once an hour, and not with every change.
    UPDATE data.device_key AS d SET last_active_at = begin_change.at
        WHERE d.user_id = person AND d.id = device AND d.status = 'active'
            AND d.last_active_at < begin_change.at - interval '1 hour';
    RETURN QUERY SELECT number,
            CASE WHEN d.status = 'active' AND d.epoch <> data.sync_epoch() THEN 'behind' ELSE d.status END,
            d.key_version, d.next_rotation_at
        FROM (VALUES (true)) AS always
        LEFT JOIN data.device_key AS d ON d.user_id = person AND d.id = device;
END
$$;
COMMENT ON FUNCTION data.begin_change(uuid, timestamptz) IS
    'Locks the changes of the transaction''s person, and answers where they and a device of theirs stand.';
GRANT EXECUTE ON FUNCTION data.begin_change(uuid, timestamptz) TO data_user;

-- Applies one change of a device, whose key has the version that is said, under the lock; numbers go on from last_number.
-- keep: whether a change that loses is kept, as a conflict of its record. held_back: whether it loses even where versions
-- agree, because it is based on one that lost. revive: whether it brings back what is deleted.
CREATE FUNCTION data.apply_cycle_change(
    device uuid, device_key_version integer, last_number bigint, change data.cycle_change, keep boolean, held_back boolean,
    revive boolean, at timestamptz
) RETURNS data.cycle_outcome
    LANGUAGE plpgsql VOLATILE SECURITY INVOKER SET search_path = ''
    AS $$
DECLARE
    person CONSTANT uuid := auth.uid();
    digest CONSTANT bytea := data.cycle_change_digest(change);
    -- A deletion has no nonce to be known by, nor a key. In their place are what it says, and a version that no key has.
    used_version CONSTANT integer := CASE WHEN change.deleted THEN 0 ELSE change.key_version END;
    used_nonce CONSTANT bytea := CASE WHEN change.deleted THEN substr(digest, 1, 24) ELSE change.nonce END;
    used record;
    held record;
    result data.cycle_outcome;
BEGIN
    SELECT r.version, r.deleted_at, r.change_number INTO held
        FROM data.encrypted_cycle_data AS r WHERE r.user_id = person AND r.id = change.record_id;
    SELECT n.content_digest, n.outcome, n.version, n.change_number, n.conflict_id, n.used_at INTO used
        FROM data.envelope_nonces AS n
        WHERE n.user_id = person AND n.key_id = device AND n.key_version = used_version
            AND n.nonce = used_nonce;
    IF used.content_digest <> digest THEN
        result.outcome := 'nonce_reused';
        RETURN result;
    ELSIF used.outcome = 'applied' THEN
        RETURN ROW('already_applied'::text, used.version, used.change_number, used.used_at, NULL::uuid, NULL::integer);
    ELSIF change.deleted AND NOT keep THEN
        -- If one that says the same is in there, it lost. Nothing is kept of this one if it does: it is looked at like the
        -- first, and takes the other's place if it is applied.
        NULL;
    ELSIF used.outcome IS NOT NULL THEN
        RETURN ROW(used.outcome, used.version, used.change_number, used.used_at, used.conflict_id, NULL::integer);
    ELSIF NOT change.deleted AND change.key_version IS DISTINCT FROM device_key_version THEN
        result.outcome := CASE WHEN change.key_version < device_key_version
            THEN 'key_version_stale' ELSE 'key_version_unknown' END;
        result.key_version := device_key_version;
        RETURN result;
    END IF;

    IF held.version IS NULL AND EXISTS (
        SELECT FROM data.purged_records AS p WHERE p.user_id = person AND p.id = change.record_id
    ) THEN
        result.outcome := 'deleted';
        RETURN result;
    ELSIF held.version IS NULL AND (change.expected_version <> 0 OR change.deleted OR held_back) THEN
        result.outcome := 'not_found';
        RETURN result;
    ELSIF held.version IS NULL THEN
        result := ROW('applied', 1, last_number + 1, apply_cycle_change.at, NULL, NULL);
        INSERT INTO data.encrypted_cycle_data (user_id, id, encrypted_payload, envelope_version, algorithm, key_id,
                key_version, nonce, salt, kdf_memory_kib, kdf_iterations, kdf_parallelism, associated_data_version, version,
                device_id, local_timestamp, change_number, created_at, updated_at)
            VALUES (person, change.record_id, change.encrypted_payload, change.envelope_version, change.algorithm, device,
                change.key_version, change.nonce, change.salt, change.kdf_memory_kib, change.kdf_iterations,
                change.kdf_parallelism, change.associated_data_version, 1, device, change.local_timestamp,
                result.change_number, apply_cycle_change.at, apply_cycle_change.at);
    ELSIF (held.deleted_at IS NULL OR revive AND NOT change.deleted) AND held.version = change.expected_version
        AND NOT held_back
    THEN
        result := ROW('applied', held.version + 1, last_number + 1, apply_cycle_change.at, NULL, NULL);
        UPDATE data.encrypted_cycle_data AS r
            SET encrypted_payload = change.encrypted_payload, envelope_version = change.envelope_version,
                algorithm = change.algorithm, key_id = CASE WHEN NOT change.deleted THEN device END,
                key_version = change.key_version, nonce = change.nonce, salt = change.salt,
                kdf_memory_kib = change.kdf_memory_kib, kdf_iterations = change.kdf_iterations,
                kdf_parallelism = change.kdf_parallelism, associated_data_version = change.associated_data_version,
                version = result.version, device_id = device,
                local_timestamp = coalesce(change.local_timestamp, r.local_timestamp),
                change_number = result.change_number,
                deleted_at = CASE WHEN change.deleted THEN apply_cycle_change.at END,
                updated_at = apply_cycle_change.at
            WHERE r.user_id = person AND r.id = change.record_id;
    ELSE
        result.outcome := CASE WHEN held.deleted_at IS NULL THEN 'conflict' ELSE 'deleted' END;
        result.version := held.version;
        IF NOT keep THEN
            RETURN result;
        END IF;
        result.change_number := held.change_number;
        result.changed_at := apply_cycle_change.at;
    END IF;
    -- Where both wanted to delete, nothing is lost.
    IF result.outcome = 'conflict' OR result.outcome = 'deleted' AND NOT change.deleted THEN
        -- The change that lost comes first, and then that its record is in conflict.
        result.change_number := last_number + 2;
        result.conflict_id := change.conflict_id;
        INSERT INTO data.cycle_data_conflicts (user_id, id, record_id, base_version, encrypted_payload, envelope_version,
                algorithm, key_id, key_version, nonce, salt, kdf_memory_kib, kdf_iterations, kdf_parallelism,
                associated_data_version, device_id, local_timestamp, change_number, created_at)
            VALUES (person, change.conflict_id, change.record_id, change.expected_version, change.encrypted_payload,
                change.envelope_version, change.algorithm, CASE WHEN NOT change.deleted THEN device END,
                change.key_version, change.nonce, change.salt, change.kdf_memory_kib, change.kdf_iterations,
                change.kdf_parallelism, change.associated_data_version, device,
                coalesce(change.local_timestamp, apply_cycle_change.at), last_number + 1, apply_cycle_change.at);
        UPDATE data.encrypted_cycle_data AS r
            SET open_conflicts = r.open_conflicts + 1, change_number = result.change_number
            WHERE r.user_id = person AND r.id = change.record_id;
    END IF;

    IF used.outcome IS NOT NULL THEN
        DELETE FROM data.envelope_nonces AS n
            WHERE n.user_id = person AND n.key_id = device AND n.key_version = used_version AND n.nonce = used_nonce;
    END IF;
    INSERT INTO data.envelope_nonces (user_id, key_id, key_version, nonce, content_digest, outcome, version,
            change_number, conflict_id, used_at)
        VALUES (person, device, used_version, used_nonce, digest, result.outcome,
            result.version, result.change_number, result.conflict_id, apply_cycle_change.at);
    RETURN result;
END
$$;
COMMENT ON FUNCTION data.apply_cycle_change(uuid, integer, bigint, data.cycle_change, boolean, boolean, boolean,
    timestamptz) IS
    'Applies one change of a cycle record, under the lock of begin_change.';
GRANT EXECUTE ON FUNCTION data.apply_cycle_change(uuid, integer, bigint, data.cycle_change, boolean, boolean, boolean,
    timestamptz) TO data_user;

-- Applies changes of one device, in their order. A change of a record whose earlier change was not applied is based on
-- something that there is not, and is not applied either. keep: whether those that lose are kept as conflicts.
--
-- One row for each change; or a single one without an ordinality, of outcome 'no_device', 'device_inactive' or 'behind'.
CREATE FUNCTION data.push_cycle_changes(device uuid, changes data.cycle_change[], keep boolean, at timestamptz)
    RETURNS TABLE (ordinality integer, result data.cycle_outcome, next_rotation_at timestamptz)
    LANGUAGE plpgsql VOLATILE ROWS 100 SECURITY INVOKER SET search_path = ''
    AS $$
DECLARE
    person CONSTANT uuid := auth.uid();
    began record;
    number bigint;
    change data.cycle_change;
    done data.cycle_outcome;
    failed uuid[] := '{}';
    i integer := 0;
BEGIN
    SELECT * INTO began FROM data.begin_change(device, push_cycle_changes.at);
    IF began.status IS DISTINCT FROM 'active' THEN
        done.outcome := CASE WHEN began.status IS NULL THEN 'no_device' WHEN began.status = 'behind' THEN 'behind'
            ELSE 'device_inactive' END;
        RETURN QUERY SELECT NULL::integer, done, began.next_rotation_at;
        RETURN;
    END IF;
    number := began.last_number;
    FOREACH change IN ARRAY changes LOOP
        i := i + 1;
        done := data.apply_cycle_change(device, device_key_version => began.key_version, last_number => number,
            change => change, keep => keep, held_back => change.record_id = ANY (failed), revive => false,
            at => push_cycle_changes.at);
        number := greatest(number, done.change_number);
        IF done.outcome NOT IN ('applied', 'already_applied') THEN
            failed := failed || change.record_id;
        END IF;
        RETURN QUERY SELECT i, done, began.next_rotation_at;
    END LOOP;
    IF number > began.last_number THEN
        UPDATE data.change_counters AS c SET last_number = number WHERE c.user_id = person;
    END IF;
END
$$;
COMMENT ON FUNCTION data.push_cycle_changes(uuid, data.cycle_change[], boolean, timestamptz) IS
    'Applies changes that a device of the transaction''s person made, and answers for each.';
GRANT EXECUTE ON FUNCTION data.push_cycle_changes(uuid, data.cycle_change[], boolean, timestamptz) TO data_user;

-- One change of a record over the version that was seen: the first version is over version 0. A change over any other is
-- answered with the one that there is, and changes nothing.
CREATE FUNCTION data.update_cycle_data_optimistic(
    device uuid, record_id uuid, expected_version bigint, encrypted_payload bytea, envelope_version smallint,
    algorithm text, key_version integer, nonce bytea, salt bytea, kdf_memory_kib integer, kdf_iterations integer,
    kdf_parallelism integer, associated_data_version smallint, local_timestamp timestamptz, at timestamptz
) RETURNS TABLE (outcome text, version bigint, change_number bigint, changed_at timestamptz, device_key_version integer,
        next_rotation_at timestamptz)
    LANGUAGE plpgsql VOLATILE ROWS 1 SECURITY INVOKER SET search_path = ''
    AS $$
BEGIN
    RETURN QUERY
        SELECT (p.result).outcome, (p.result).version, (p.result).change_number, (p.result).changed_at,
            (p.result).key_version, p.next_rotation_at
        FROM data.push_cycle_changes(device, ARRAY[ROW(record_id, expected_version, false, encrypted_payload,
            envelope_version, algorithm, key_version, nonce, salt, kdf_memory_kib, kdf_iterations, kdf_parallelism,
            associated_data_version, local_timestamp, NULL)::data.cycle_change], false, at) AS p;
END
$$;
COMMENT ON FUNCTION data.update_cycle_data_optimistic(uuid, uuid, bigint, bytea, smallint, text, integer, bytea, bytea,
    integer, integer, integer, smallint, timestamptz, timestamptz) IS
    'Changes a cycle record of the transaction''s person over the version that was seen, or nothing.';
GRANT EXECUTE ON FUNCTION data.update_cycle_data_optimistic(uuid, uuid, bigint, bytea, smallint, text, integer, bytea, bytea,
    integer, integer, integer, smallint, timestamptz, timestamptz) TO data_user;

-- Settles conflicts of one record, over the record's version that was seen. change says what becomes of the record: it
-- stays as it is where it is null, and otherwise is changed, deleted, or brought back with a new content.
--
-- outcome is that of the change, or 'kept'; 'not_found' for the record, 'no_conflict' where one of the conflicts is not
-- the record's or is settled, 'conflict' where the record has another version; 'no_device', 'device_inactive' and 'behind'.
-- Nothing is settled unless it is 'applied' or 'kept'.
CREATE FUNCTION data.resolve_cycle_conflict(
    device uuid, record_id uuid, expected_version bigint, conflicts uuid[], change data.cycle_change, at timestamptz
) RETURNS TABLE (result data.cycle_outcome, open_conflicts integer, next_rotation_at timestamptz)
    LANGUAGE plpgsql VOLATILE ROWS 1 SECURITY INVOKER SET search_path = ''
    AS $$
DECLARE
    person CONSTANT uuid := auth.uid();
    began record;
    held record;
    settled integer;
    done data.cycle_outcome;
BEGIN
    SELECT * INTO began FROM data.begin_change(device, resolve_cycle_conflict.at);
    SELECT r.version, r.deleted_at, r.open_conflicts INTO held
        FROM data.encrypted_cycle_data AS r WHERE r.user_id = person AND r.id = resolve_cycle_conflict.record_id;
    SELECT count(*) INTO settled FROM data.cycle_data_conflicts AS k
        WHERE k.user_id = person AND k.record_id = resolve_cycle_conflict.record_id AND k.id = ANY (conflicts)
            AND k.settled_at IS NULL;
    done.version := held.version;
    done.outcome := CASE
        WHEN began.status IS NULL THEN 'no_device'
        WHEN began.status = 'behind' THEN 'behind'
        WHEN began.status <> 'active' THEN 'device_inactive'
        WHEN held.version IS NULL THEN 'not_found'
        WHEN held.version IS DISTINCT FROM expected_version THEN 'conflict'
        WHEN settled <> cardinality(conflicts) THEN 'no_conflict'
        WHEN change IS NULL THEN 'kept'
        -- Deleted already, and to be so.
        WHEN held.deleted_at IS NOT NULL AND change.deleted THEN 'kept'
    END;
    IF done.outcome IS NULL THEN
        -- What is deleted can be brought back here, and only here: whoever does so has seen that it is.
        done := data.apply_cycle_change(device, device_key_version => began.key_version,
            last_number => began.last_number + cardinality(conflicts), change => change, keep => false,
            held_back => false, revive => true, at => resolve_cycle_conflict.at);
    END IF;
    IF done.outcome IN ('applied', 'kept') THEN
        done.change_number := began.last_number + cardinality(conflicts) + 1;
        done.changed_at := resolve_cycle_conflict.at;
        UPDATE data.cycle_data_conflicts AS k
            SET settled_at = resolve_cycle_conflict.at, change_number = began.last_number + c.place
            FROM unnest(conflicts) WITH ORDINALITY AS c (id, place)
            WHERE k.user_id = person AND k.id = c.id;
        UPDATE data.encrypted_cycle_data AS r
            SET open_conflicts = r.open_conflicts - cardinality(conflicts), change_number = done.change_number,
                -- A tombstone is kept until everybody has been told that this is how it was settled.
                deleted_at = CASE WHEN r.deleted_at IS NOT NULL THEN resolve_cycle_conflict.at END
            WHERE r.user_id = person AND r.id = resolve_cycle_conflict.record_id;
        UPDATE data.change_counters AS c SET last_number = done.change_number WHERE c.user_id = person;
    END IF;
    RETURN QUERY SELECT done,
        (SELECT r.open_conflicts FROM data.encrypted_cycle_data AS r
            WHERE r.user_id = person AND r.id = resolve_cycle_conflict.record_id),
        began.next_rotation_at;
END
$$;
COMMENT ON FUNCTION data.resolve_cycle_conflict(uuid, uuid, bigint, uuid[], data.cycle_change, timestamptz) IS
    'Settles conflicts of a cycle record of the transaction''s person, over the version that was seen, or nothing.';
GRANT EXECUTE ON FUNCTION data.resolve_cycle_conflict(uuid, uuid, bigint, uuid[], data.cycle_change, timestamptz)
    TO data_user;

-- A person's preferences, over the version that was seen: the first version is over version 0.
--
-- outcome: 'applied'; 'already_applied', by the same before; 'conflict', where there is another version, or none;
-- 'nonce_reused'; 'key_version_stale' and 'key_version_unknown', where device_key_version is the one that the device's key
-- has; 'no_device', 'device_inactive' and 'behind'.
CREATE FUNCTION data.put_preferences(
    device uuid, expected_version bigint, encrypted_payload bytea, envelope_version smallint, algorithm text,
    key_version integer, nonce bytea, salt bytea, kdf_memory_kib integer, kdf_iterations integer, kdf_parallelism integer,
    associated_data_version smallint, at timestamptz
) RETURNS TABLE (outcome text, version bigint, changed_at timestamptz, device_key_version integer,
        next_rotation_at timestamptz)
    LANGUAGE plpgsql VOLATILE ROWS 1 SECURITY INVOKER SET search_path = ''
    AS $$
DECLARE
    person CONSTANT uuid := auth.uid();
    began record;
    digest CONSTANT bytea := sha256(put_preferences.encrypted_payload || convert_to(concat_ws('|', 'preferences',
        expected_version, put_preferences.envelope_version, put_preferences.algorithm, encode(put_preferences.salt, 'hex'),
        put_preferences.kdf_memory_kib, put_preferences.kdf_iterations, put_preferences.kdf_parallelism,
        put_preferences.associated_data_version), 'UTF8'));
    used record;
    held bigint;
    outcome text;
BEGIN
    SELECT * INTO began FROM data.begin_change(device, put_preferences.at);
    SELECT n.content_digest, n.version, n.used_at INTO used
        FROM data.envelope_nonces AS n
        WHERE n.user_id = person AND n.key_id = device AND n.key_version = put_preferences.key_version
            AND n.nonce = put_preferences.nonce;
    held := coalesce((SELECT p.version FROM data.encrypted_user_prefs AS p WHERE p.user_id = person), 0);
    outcome := CASE
        WHEN began.status IS NULL THEN 'no_device'
        WHEN began.status = 'behind' THEN 'behind'
        WHEN began.status <> 'active' THEN 'device_inactive'
        WHEN used.content_digest = digest THEN 'already_applied'
        WHEN used.content_digest IS NOT NULL THEN 'nonce_reused'
        WHEN put_preferences.key_version < began.key_version THEN 'key_version_stale'
        WHEN put_preferences.key_version > began.key_version THEN 'key_version_unknown'
        WHEN held IS DISTINCT FROM expected_version THEN 'conflict'
        ELSE 'applied'
    END;
    IF outcome = 'applied' THEN
        INSERT INTO data.encrypted_user_prefs AS p (user_id, encrypted_payload, envelope_version, algorithm, key_id,
                key_version, nonce, salt, kdf_memory_kib, kdf_iterations, kdf_parallelism, associated_data_version, version,
                device_id, created_at, updated_at)
            VALUES (person, put_preferences.encrypted_payload, put_preferences.envelope_version, put_preferences.algorithm,
                device, put_preferences.key_version, put_preferences.nonce, put_preferences.salt,
                put_preferences.kdf_memory_kib, put_preferences.kdf_iterations, put_preferences.kdf_parallelism,
                put_preferences.associated_data_version, 1, device, put_preferences.at, put_preferences.at)
            ON CONFLICT (user_id) DO UPDATE
            SET encrypted_payload = excluded.encrypted_payload, envelope_version = excluded.envelope_version,
                algorithm = excluded.algorithm, key_id = excluded.key_id, key_version = excluded.key_version,
                nonce = excluded.nonce, salt = excluded.salt, kdf_memory_kib = excluded.kdf_memory_kib,
                kdf_iterations = excluded.kdf_iterations, kdf_parallelism = excluded.kdf_parallelism,
                associated_data_version = excluded.associated_data_version, version = p.version + 1,
                device_id = excluded.device_id, updated_at = excluded.updated_at;
        INSERT INTO data.envelope_nonces (user_id, key_id, key_version, nonce, content_digest, outcome, version, used_at)
            VALUES (person, device, put_preferences.key_version, put_preferences.nonce, digest, 'applied', held + 1,
                put_preferences.at);
    END IF;
    RETURN QUERY SELECT outcome,
        CASE
            WHEN outcome = 'applied' THEN held + 1
            WHEN outcome = 'already_applied' THEN used.version
            ELSE held
        END,
        CASE outcome WHEN 'applied' THEN put_preferences.at WHEN 'already_applied' THEN used.used_at END,
        began.key_version, began.next_rotation_at;
END
$$;
COMMENT ON FUNCTION data.put_preferences(uuid, bigint, bytea, smallint, text, integer, bytea, bytea, integer, integer,
    integer, smallint, timestamptz) IS
    'Stores the preferences of the transaction''s person over the version that was seen, or nothing.';
GRANT EXECUTE ON FUNCTION data.put_preferences(uuid, bigint, bytea, smallint, text, integer, bytea, bytea, integer, integer,
    integer, smallint, timestamptz) TO data_user;

-- A new key for a device of the transaction's person, over the version that was seen: the key's version goes up by one,
-- and the next rotation is due in 90 days. A device that was suspended is active again: whatever was known of its key
-- while nobody knew where it was is worth nothing now. What was sealed under the old version stays readable.
--
-- What was sent under the versions before that one, and every deletion, is forgotten after 180 days: nobody retries it any
-- more, and nobody may use those versions.
--
-- outcome is 'rotated'; or nothing was changed: 'not_found', 'revoked', or 'stale' where the key has another version.
CREATE FUNCTION data.rotate_device_key(
    device uuid, expected_key_version integer, encrypted_master_key bytea, key_derivation_path text, at timestamptz
) RETURNS TABLE (outcome text, key_version integer, next_rotation_at timestamptz)
    LANGUAGE plpgsql VOLATILE ROWS 1 SECURITY INVOKER SET search_path = ''
    AS $$
DECLARE
    person CONSTANT uuid := auth.uid();
    held record;
BEGIN
    PERFORM FROM data.change_counters AS c WHERE c.user_id = person FOR NO KEY UPDATE;
    SELECT d.status, d.key_version, d.next_rotation_at INTO held
        FROM data.device_key AS d WHERE d.user_id = person AND d.id = device;
    IF NOT FOUND THEN
        RETURN QUERY SELECT 'not_found', NULL::integer, NULL::timestamptz;
        RETURN;
    ELSIF held.status = 'revoked' THEN
        RETURN QUERY SELECT 'revoked', held.key_version, held.next_rotation_at;
        RETURN;
    ELSIF held.key_version IS DISTINCT FROM expected_key_version THEN
        RETURN QUERY SELECT 'stale', held.key_version, held.next_rotation_at;
        RETURN;
    END IF;
    -- So many at once, as takes no time that others would notice; the rest goes with the next rotation.
    DELETE FROM data.envelope_nonces AS n
        WHERE n.user_id = person AND n.ctid = ANY (ARRAY(
            SELECT o.ctid FROM data.envelope_nonces AS o
            WHERE o.user_id = person AND o.key_id = device AND o.key_version < held.key_version
                AND o.used_at < rotate_device_key.at - interval '180 days'
            LIMIT 10000));
    INSERT INTO data.security_audit_log (user_id, event, subject_id, occurred_at)
        VALUES (person, 'device_key_rotated', device, rotate_device_key.at);
    RETURN QUERY
        UPDATE data.device_key AS d
        SET encrypted_master_key = rotate_device_key.encrypted_master_key,
            key_derivation_path = rotate_device_key.key_derivation_path,
            key_version = d.key_version + 1, status = 'active', last_active_at = rotate_device_key.at,
            next_rotation_at = rotate_device_key.at + interval '90 days'
        WHERE d.user_id = person AND d.id = device
        RETURNING 'rotated', d.key_version, d.next_rotation_at;
END
$$;
COMMENT ON FUNCTION data.rotate_device_key(uuid, integer, bytea, text, timestamptz) IS
    'Gives a device of the transaction''s person a new key, over the version that was seen.';
GRANT EXECUTE ON FUNCTION data.rotate_device_key(uuid, integer, bytea, text, timestamptz) TO data_user;
GRANT DELETE ON data.envelope_nonces TO data_user;
CREATE POLICY envelope_nonces_user_delete ON data.envelope_nonces FOR DELETE TO data_user
    USING (user_id = (SELECT auth.uid()) AND key_version < (SELECT d.key_version FROM data.device_key AS d
        WHERE d.user_id = envelope_nonces.user_id AND d.id = envelope_nonces.key_id));

-- Up to which number every active device of the transaction's person has acknowledged. Nobody has to be told where there
-- is no such device.
CREATE FUNCTION data.synced_number() RETURNS bigint
    LANGUAGE plpgsql STABLE SECURITY INVOKER SET search_path = ''
    AS $$
BEGIN
    RETURN (SELECT coalesce(min(d.acknowledged_number), 9223372036854775807) FROM data.device_key AS d
        WHERE d.user_id = (SELECT auth.uid()) AND d.status = 'active');
END
$$;
COMMENT ON FUNCTION data.synced_number() IS
    'Up to which number of a change every active device of the transaction''s person has acknowledged.';
GRANT EXECUTE ON FUNCTION data.synced_number() TO data_user;

-- Deletes what no device of the transaction's person has to be told any more: so many settled conflicts, and so many
-- tombstones, at most. Those are what every active device has acknowledged; or, if aged, what is older than 180 days. Who
-- has not seen one of these cannot be told any more what is gone: purged_number says so.
CREATE FUNCTION data.purge_changes(batch integer, aged boolean) RETURNS bigint
    LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    person CONSTANT uuid := auth.uid();
    old CONSTANT timestamptz := now() - interval '180 days';
    told CONSTANT bigint := data.synced_number();
    conflicts uuid[];
    records uuid[];
    newest bigint := 0;
    number bigint;
BEGIN
    PERFORM FROM data.change_counters AS c WHERE c.user_id = person FOR NO KEY UPDATE;
    IF aged THEN
        conflicts := ARRAY(SELECT k.id FROM data.cycle_data_conflicts AS k
            WHERE k.user_id = person AND k.settled_at IS NOT NULL AND k.settled_at < old
            ORDER BY k.change_number LIMIT purge_changes.batch);
        records := ARRAY(SELECT r.id FROM data.encrypted_cycle_data AS r
            WHERE r.user_id = person AND r.deleted_at IS NOT NULL AND r.open_conflicts = 0 AND r.deleted_at < old
            ORDER BY r.change_number LIMIT purge_changes.batch);
    ELSE
        conflicts := ARRAY(SELECT k.id FROM data.cycle_data_conflicts AS k
            WHERE k.user_id = person AND k.settled_at IS NOT NULL AND k.change_number <= told
            ORDER BY k.change_number LIMIT purge_changes.batch);
        records := ARRAY(SELECT r.id FROM data.encrypted_cycle_data AS r
            WHERE r.user_id = person AND r.deleted_at IS NOT NULL AND r.open_conflicts = 0 AND r.change_number <= told
            ORDER BY r.change_number LIMIT purge_changes.batch);
    END IF;
    IF cardinality(conflicts) + cardinality(records) = 0 THEN
        RETURN 0;
    END IF;
    INSERT INTO data.purged_records (user_id, id) SELECT person, gone.id FROM unnest(records) AS gone (id);
    -- With a tombstone go the settled conflicts of its record.
    SELECT max(k.change_number) INTO number FROM data.cycle_data_conflicts AS k
        WHERE k.user_id = person AND (k.id = ANY (conflicts) OR k.record_id = ANY (records));
    newest := greatest(newest, number);
    SELECT max(r.change_number) INTO number FROM data.encrypted_cycle_data AS r
        WHERE r.user_id = person AND r.id = ANY (records);
    newest := greatest(newest, number);
    DELETE FROM data.cycle_data_conflicts AS k WHERE k.user_id = person AND k.id = ANY (conflicts);
    DELETE FROM data.encrypted_cycle_data AS r WHERE r.user_id = person AND r.id = ANY (records);
    UPDATE data.change_counters AS c SET purged_number = greatest(c.purged_number, newest) WHERE c.user_id = person;
    RETURN cardinality(conflicts) + cardinality(records);
END
$$;
COMMENT ON FUNCTION data.purge_changes(integer, boolean) IS
    'Deletes what no device of the transaction''s person has to be told any more. Answers how much.';
GRANT EXECUTE ON FUNCTION data.purge_changes(integer, boolean) TO data_user, data_service;
CREATE POLICY encrypted_cycle_data_owner_delete ON data.encrypted_cycle_data FOR DELETE TO data_owner
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY cycle_data_conflicts_owner_delete ON data.cycle_data_conflicts FOR DELETE TO data_owner
    USING (user_id = (SELECT auth.uid()));

SET LOCAL row_security = on;
