-- oldest_binary: 20261129000600
SET LOCAL row_security = off;

-- Reads of records and of the feed in one round trip (see "Calls in one round trip" in migrations/README.md).

-- A part of the feed: the state, and the entries after a change, by ascending number. A part has at most 500 entries, and payloads of
-- `part_bytes` and one more. Without rows there is no such device. STABLE: all of it is of one snapshot.
CREATE FUNCTION data.read_changes_1(caller uuid, device uuid, after bigint, part_bytes bigint) RETURNS TABLE (
    epoch uuid, synced_number bigint, last_number bigint, purged_number bigint, status text, next_rotation_at timestamptz,
    change_number bigint, id uuid, record_id uuid, version bigint, encrypted_payload bytea, algorithm text, key_id uuid,
    key_version integer, nonce bytea, salt bytea, kdf_memory_kib integer, kdf_iterations integer, kdf_parallelism integer,
    device_id uuid, local_timestamp timestamptz, open_conflicts integer, deleted_at timestamptz, created_at timestamptz,
    updated_at timestamptz, reencryption_due boolean
)
    LANGUAGE plpgsql STABLE SECURITY INVOKER ROWS 500 SET search_path = ''
    AS $$
#variable_conflict use_column
DECLARE
    claims text;
    context text;
    keys uuid[];
    versions integer[];
BEGIN
    claims := pg_catalog.set_config('request.jwt.claims', '{"sub":"' || caller || '"}', true);
    -- In the order of the index: with few changes expected, Postgres would read and sort all of a person's.
    context := pg_catalog.set_config('enable_bitmapscan', 'off', true);
    context := pg_catalog.set_config('enable_sort', 'off', true);
    context := pg_catalog.set_config('role', 'data_user', true);
    -- Asked once, and not by the policies of each statement.
    IF data.check_person() THEN
        context := pg_catalog.set_config('data.admitted', claims, true);
    END IF;
    SELECT c.last_number, c.purged_number, max(d.status) FILTER (WHERE d.id = device),
            max(d.next_rotation_at) FILTER (WHERE d.id = device),
            coalesce(min(d.acknowledged_number) FILTER (WHERE d.status = 'active'), 9223372036854775807), array_agg(d.id),
            array_agg(CASE WHEN d.status = 'revoked' THEN 2147483647 ELSE d.key_version END)
        INTO last_number, purged_number, status, next_rotation_at, synced_number, keys, versions
        FROM data.device_key AS d JOIN data.change_counters AS c ON c.user_id = d.user_id
        WHERE d.user_id = caller
        GROUP BY c.last_number, c.purged_number;
    IF status IS NULL THEN
        RETURN;
    END IF;
    epoch := data.sync_epoch();
    -- The first row is the state of the feed.
    RETURN NEXT;
    IF last_number <= after THEN
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM data.cycle_data_conflicts AS k WHERE k.user_id = caller AND k.change_number > after) THEN
        RETURN QUERY
            SELECT NULL::uuid, NULL::bigint, NULL::bigint, NULL::bigint, NULL::text, NULL::timestamptz, p.change_number, p.id,
                p.record_id, p.version, p.encrypted_payload, p.algorithm, p.key_id, p.key_version, p.nonce, p.salt,
                p.kdf_memory_kib, p.kdf_iterations, p.kdf_parallelism, p.device_id, p.local_timestamp, p.open_conflicts,
                p.deleted_at, p.created_at, p.updated_at, p.key_version < versions[array_position(keys, p.key_id)]
            FROM (
                SELECT u.*, coalesce(sum(octet_length(u.encrypted_payload)) OVER (
                    ORDER BY u.change_number ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS bytes_before
                FROM (
                    (SELECT r.change_number, r.id, NULL::uuid AS record_id, r.version, r.encrypted_payload, r.algorithm,
                        r.key_id, r.key_version, r.nonce, r.salt, r.kdf_memory_kib, r.kdf_iterations, r.kdf_parallelism,
                        r.device_id, r.local_timestamp, r.open_conflicts, r.deleted_at, r.created_at, r.updated_at
                    FROM data.encrypted_cycle_data AS r
                    WHERE r.user_id = caller AND r.change_number > after
                    ORDER BY r.change_number LIMIT 500)
                    UNION ALL
                    (SELECT k.change_number, k.id, k.record_id, k.base_version, k.encrypted_payload, k.algorithm,
                        k.key_id, k.key_version, k.nonce, k.salt, k.kdf_memory_kib, k.kdf_iterations, k.kdf_parallelism,
                        k.device_id, k.local_timestamp, NULL, k.settled_at, k.created_at, NULL
                    FROM data.cycle_data_conflicts AS k
                    WHERE k.user_id = caller AND k.change_number > after
                    ORDER BY k.change_number LIMIT 500)
                    ORDER BY change_number LIMIT 500
                ) AS u
            ) AS p
            WHERE p.bytes_before < part_bytes
            ORDER BY p.change_number;
        RETURN;
    END IF;
    RETURN QUERY
        SELECT NULL::uuid, NULL::bigint, NULL::bigint, NULL::bigint, NULL::text, NULL::timestamptz, p.change_number, p.id,
            NULL::uuid, p.version, p.encrypted_payload, p.algorithm, p.key_id, p.key_version, p.nonce, p.salt,
            p.kdf_memory_kib, p.kdf_iterations, p.kdf_parallelism, p.device_id, p.local_timestamp, p.open_conflicts,
            p.deleted_at, p.created_at, p.updated_at, p.key_version < versions[array_position(keys, p.key_id)]
        FROM (
            SELECT u.*, coalesce(sum(octet_length(u.encrypted_payload)) OVER (
                ORDER BY u.change_number ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS bytes_before
            FROM (
                SELECT r.change_number, r.id, r.version, r.encrypted_payload, r.algorithm,
                    r.key_id, r.key_version, r.nonce, r.salt, r.kdf_memory_kib, r.kdf_iterations, r.kdf_parallelism,
                    r.device_id, r.local_timestamp, r.open_conflicts, r.deleted_at, r.created_at, r.updated_at
                FROM data.encrypted_cycle_data AS r
                WHERE r.user_id = caller AND r.change_number > after
                ORDER BY r.change_number LIMIT 500
            ) AS u
        ) AS p
        WHERE p.bytes_before < part_bytes
        ORDER BY p.change_number;
END
$$;
COMMENT ON FUNCTION data.read_changes_1(uuid, uuid, bigint, bigint) IS
    'PullChanges and WatchChanges: the state of a person''s feed, and the entries after a change.';
REVOKE EXECUTE ON FUNCTION data.read_changes_1(uuid, uuid, bigint, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION data.read_changes_1(uuid, uuid, bigint, bigint) TO data_app;

-- A record that is not deleted, in one row with the status of the calling device, where the call names one: 'no_device' without it.
-- The record is NULL where there is none.
CREATE FUNCTION data.get_record_1(caller uuid, device uuid, record uuid) RETURNS TABLE (
    status text, next_rotation_at timestamptz, id uuid, encrypted_payload bytea, algorithm text, key_id uuid,
    key_version integer, nonce bytea, salt bytea, kdf_memory_kib integer, kdf_iterations integer, kdf_parallelism integer,
    version bigint, device_id uuid, local_timestamp timestamptz, change_number bigint, open_conflicts integer,
    deleted_at timestamptz, created_at timestamptz, updated_at timestamptz, reencryption_due boolean, synced_number bigint
)
    LANGUAGE plpgsql STABLE SECURITY INVOKER ROWS 1 SET search_path = ''
    AS $$
#variable_conflict use_column
DECLARE
    claims text;
    context text;
BEGIN
    claims := pg_catalog.set_config('request.jwt.claims', '{"sub":"' || caller || '"}', true);
    context := pg_catalog.set_config('role', 'data_user', true);
    -- Asked once, and not by the policies of each statement.
    IF data.check_person() THEN
        context := pg_catalog.set_config('data.admitted', claims, true);
    END IF;
    RETURN QUERY
        SELECT CASE WHEN device IS NOT NULL THEN coalesce(c.status, 'no_device') END, c.next_rotation_at, r.id,
            r.encrypted_payload, r.algorithm, r.key_id, r.key_version, r.nonce, r.salt, r.kdf_memory_kib, r.kdf_iterations,
            r.kdf_parallelism, r.version, r.device_id, r.local_timestamp, r.change_number, r.open_conflicts, r.deleted_at,
            r.created_at, r.updated_at, d.status = 'revoked' OR r.key_version < d.key_version,
            (SELECT coalesce(min(a.acknowledged_number), 9223372036854775807) FROM data.device_key AS a
                WHERE a.user_id = caller AND a.status = 'active')
        FROM (VALUES (true)) AS always
            LEFT JOIN data.device_key AS c ON c.user_id = caller AND c.id = device
            LEFT JOIN data.encrypted_cycle_data AS r ON r.user_id = caller AND r.id = record AND r.deleted_at IS NULL
            LEFT JOIN data.device_key AS d ON d.user_id = caller AND d.id = r.key_id;
END
$$;
COMMENT ON FUNCTION data.get_record_1(uuid, uuid, uuid) IS
    'GetRecord: the person''s record with an id, and the status of the calling device.';
REVOKE EXECUTE ON FUNCTION data.get_record_1(uuid, uuid, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION data.get_record_1(uuid, uuid, uuid) TO data_app;

SET LOCAL row_security = on;
