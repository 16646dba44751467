-- oldest_binary: 20261129000600
SET LOCAL row_security = off;

-- Changes of records in one round trip (see "Calls in one round trip" in migrations/README.md), and cheaper triggers behind them.

-- The gate of locked people, in two parts. Postgres writes the first one into the statement that it checks, and a function that was
-- admitted once says so for its later statements: data.admitted has the claims for which it was, until the end of the transaction.
-- Everything else asks data.users, as before.
CREATE FUNCTION data.check_person() RETURNS boolean
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    IF current_setting('data.changes_seals', true) IS DISTINCT FROM 'yes'
        AND EXISTS (SELECT FROM data.users AS u WHERE u.id = auth.uid() AND u.locked_at IS NOT NULL)
    THEN
        RAISE EXCEPTION USING ERRCODE = 'UL001', MESSAGE = 'the person is locked';
    END IF;
    RETURN true;
END
$$;
COMMENT ON FUNCTION data.check_person() IS 'Fails with UL001 when the transaction''s person is locked. Returns true otherwise.';
GRANT EXECUTE ON FUNCTION data.check_person() TO data_user, data_service;
CREATE OR REPLACE FUNCTION data.admit_person() RETURNS boolean
    LANGUAGE sql STABLE SECURITY INVOKER
    RETURN CASE WHEN nullif(current_setting('data.admitted', true), '') = current_setting('request.jwt.claims', true) THEN true
        ELSE data.check_person() END;

-- As before. A function in SQL that is too large for the statement around it is parsed in each transaction; one in plpgsql is parsed
-- once by a connection.
CREATE OR REPLACE FUNCTION data.mutation_wait(
    until timestamptz, reset_at timestamptz, emission interval, tolerance interval, moment timestamptz
) RETURNS interval
    LANGUAGE plpgsql IMMUTABLE SECURITY INVOKER SET search_path = ''
    AS $$
BEGIN
    RETURN CASE
        WHEN until IS NULL OR emission IS NULL OR until <= moment + tolerance THEN interval '0'
        WHEN until <= moment + tolerance + emission + interval '10 seconds' THEN until - tolerance - moment
        WHEN reset_at BETWEEN moment - interval '1 hour' AND moment
            THEN least(until - tolerance - moment, reset_at + interval '1 hour' - moment)
        ELSE interval '0'
    END;
END
$$;
GRANT EXECUTE ON FUNCTION data.mutation_wait(timestamptz, timestamptz, interval, interval, timestamptz) TO data_user;

-- As before, with one query.
CREATE OR REPLACE FUNCTION data.sync_epoch() RETURNS uuid
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    cluster_id CONSTANT bigint := (pg_control_system()).system_identifier;
    newest record;
BEGIN
    LOOP
        SELECT e.number, e.id, e.system_identifier, e.timeline INTO newest
            FROM data.sync_epochs AS e ORDER BY e.number DESC LIMIT 1;
        EXIT WHEN pg_is_in_recovery();
        EXIT WHEN newest.system_identifier = cluster_id
            AND newest.timeline = ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint;
        INSERT INTO data.sync_epochs (number, began_at, system_identifier, timeline)
            VALUES (coalesce(newest.number, 0) + 1, now(), cluster_id, data.current_timeline())
            ON CONFLICT (number) DO NOTHING;
    END LOOP;
    RETURN newest.id;
END
$$;

-- Whether changes are certain to be within the limits of the transaction: so many new records and nonces, and so many bytes. Otherwise
-- the triggers decide, one change after another.
CREATE FUNCTION data.within_limits_1(used data.usage_counters, records bigint, bytes bigint, nonces bigint) RETURNS boolean
    LANGUAGE plpgsql STABLE SECURITY INVOKER SET search_path = ''
    AS $$
DECLARE
    limits CONSTANT jsonb := nullif(current_setting('data.limits', true), '')::jsonb;
BEGIN
    RETURN limits IS NULL OR used.user_id IS NULL
        OR coalesce(used.nonces + within_limits_1.nonces <= (limits ->> 'nonces')::bigint, true)
            AND coalesce(used.requests < (limits ->> 'requests')::bigint, true)
            AND coalesce(used.request_bytes < (limits ->> 'request_bytes')::bigint, true)
            AND coalesce(used.record_bytes + within_limits_1.bytes <= (limits ->> 'record_bytes')::bigint, true)
            AND (within_limits_1.records = 0
                OR coalesce(used.records + within_limits_1.records <= (limits ->> 'records')::bigint, true)
                AND coalesce(used.deleted_records < (limits ->> 'deleted_records')::bigint, true))
            AND (used.mutations_until IS NULL OR data.mutation_wait(used.mutations_until, used.mutations_reset_at,
                make_interval(secs => (limits ->> 'mutation_emission')::double precision / 1000000),
                make_interval(secs => (limits ->> 'mutation_tolerance')::double precision / 1000000),
                clock_timestamp()) = interval '0');
END
$$;
COMMENT ON FUNCTION data.within_limits_1(data.usage_counters, bigint, bigint, bigint) IS
    'Whether so many records, bytes and nonces more are within the limits of the transaction.';
GRANT EXECUTE ON FUNCTION data.within_limits_1(data.usage_counters, bigint, bigint, bigint) TO data_user;

-- data.within_limits is 'yes' in a transaction whose function has found its changes within the limits, so that no row is checked again
-- before it is written. The triggers after the statement check exactly, as before.
CREATE OR REPLACE TRIGGER refuse_early_update BEFORE UPDATE OF encrypted_payload ON data.encrypted_cycle_data FOR EACH ROW
    WHEN (NEW.encrypted_payload IS NOT NULL
        AND current_setting('data.within_limits', true) IS DISTINCT FROM 'yes')
    EXECUTE FUNCTION data.refuse_early();
CREATE OR REPLACE TRIGGER refuse_early BEFORE INSERT ON data.encrypted_cycle_data FOR EACH ROW
    WHEN (NEW.encrypted_payload IS NOT NULL
        AND current_setting('data.within_limits', true) IS DISTINCT FROM 'yes')
    EXECUTE FUNCTION data.refuse_early('record_bytes', 'records', 'deleted_records', 'nonces', 'requests', 'request_bytes');

-- A single change counts its nonce and the growth of its record with its request, in one update: data.added_nonces and
-- data.added_bytes have them then, and data.requests gets its row in the same statement.
CREATE OR REPLACE TRIGGER usage_insert AFTER INSERT ON data.envelope_nonces REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT WHEN (coalesce(current_setting('data.added_nonces', true), '') = '')
    EXECUTE FUNCTION data.count_added_envelope_nonces();
CREATE OR REPLACE TRIGGER usage_update AFTER UPDATE ON data.encrypted_cycle_data REFERENCING OLD TABLE AS removed NEW TABLE AS added
    FOR EACH STATEMENT WHEN (coalesce(current_setting('data.added_bytes', true), '') = '')
    EXECUTE FUNCTION data.count_changed_encrypted_cycle_data();

-- As before. A call adds the rows of one person: they are counted, and the rate limit of mutations is decided, by one update.
CREATE OR REPLACE FUNCTION data.count_added_requests() RETURNS trigger
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    limits CONSTANT jsonb := nullif(current_setting('data.limits', true), '')::jsonb;
    emission CONSTANT interval := make_interval(secs => (limits ->> 'mutation_emission')::double precision / 1000000);
    tolerance CONSTANT interval := make_interval(secs => (limits ->> 'mutation_tolerance')::double precision / 1000000);
    moment CONSTANT timestamptz := clock_timestamp();
    added_nonces CONSTANT bigint := coalesce(nullif(current_setting('data.added_nonces', true), ''), '0');
    added_bytes CONSTANT bigint := coalesce(nullif(current_setting('data.added_bytes', true), ''), '0');
    change record;
    used record;
BEGIN
    -- Of one person, as each call's, and admitted by the rate limit.
    UPDATE data.usage_counters AS u
        SET requests = u.requests + c.rows, request_bytes = u.request_bytes + c.bytes,
            nonces = u.nonces + added_nonces, record_bytes = u.record_bytes + added_bytes,
            mutations_until = CASE WHEN emission IS NULL THEN u.mutations_until ELSE
                least(greatest(u.mutations_until, moment) + c.rows * emission, moment + tolerance + emission) END
        FROM (
            SELECT array_agg(DISTINCT r.user_id) AS people, count(*) AS rows,
                sum(octet_length(r.answer::text))::bigint AS bytes,
                bool_and(r.method LIKE 'Delete%'
                    OR r.method IN ('SuspendDevice', 'RevokeDevice') AND r.answer ? 'stopped') AS exempt
            FROM added AS r WHERE NOT r.by_service
        ) AS c
        WHERE u.user_id = c.people[1] AND cardinality(c.people) = 1
            AND (emission IS NULL OR u.mutations_until IS NULL OR u.mutations_until <= moment + tolerance)
        RETURNING u.requests, u.request_bytes, u.nonces, u.record_bytes, c.rows, c.bytes, c.exempt INTO used;
    IF FOUND THEN
        IF used.exempt THEN
            RETURN NULL;
        END IF;
        IF added_bytes > 0 AND used.record_bytes > (limits ->> 'record_bytes')::bigint THEN
            PERFORM data.check_quota('record_bytes', used.record_bytes, added_bytes);
        END IF;
        IF added_nonces > 0 AND used.nonces > (limits ->> 'nonces')::bigint THEN
            PERFORM data.check_quota('nonces', used.nonces, added_nonces);
        END IF;
        IF used.requests > (limits ->> 'requests')::bigint THEN
            PERFORM data.check_quota('requests', used.requests, used.rows);
        END IF;
        IF used.request_bytes > (limits ->> 'request_bytes')::bigint THEN
            PERFORM data.check_quota('request_bytes', used.request_bytes, used.bytes);
        END IF;
        RETURN NULL;
    END IF;
    -- Of none or several, or of one who has no counters yet or is over the rate limit.
    FOR change IN
        SELECT r.user_id, count(*) AS rows, sum(octet_length(r.answer::text))::bigint AS bytes,
            bool_and(r.method LIKE 'Delete%'
                OR r.method IN ('SuspendDevice', 'RevokeDevice') AND r.answer ? 'stopped') AS exempt
        FROM added AS r WHERE NOT r.by_service GROUP BY r.user_id ORDER BY r.user_id
    LOOP
        PERFORM data.admit_mutations(change.user_id, change.rows::integer, change.exempt);
        INSERT INTO data.usage_counters AS u (user_id, requests, request_bytes, nonces, record_bytes)
            VALUES (change.user_id, change.rows, change.bytes, added_nonces, added_bytes)
            ON CONFLICT (user_id) DO UPDATE SET requests = u.requests + excluded.requests,
                request_bytes = u.request_bytes + excluded.request_bytes, nonces = u.nonces + excluded.nonces,
                record_bytes = u.record_bytes + excluded.record_bytes
            RETURNING u.requests, u.request_bytes, u.nonces, u.record_bytes INTO used;
        IF NOT change.exempt THEN
            IF added_bytes > 0 THEN
                PERFORM data.check_quota('record_bytes', used.record_bytes, added_bytes);
            END IF;
            IF added_nonces > 0 THEN
                PERFORM data.check_quota('nonces', used.nonces, added_nonces);
            END IF;
            PERFORM data.check_quota('requests', used.requests, change.rows);
            PERFORM data.check_quota('request_bytes', used.request_bytes, change.bytes);
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION data.count_added_envelope_nonces() RETURNS trigger
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    change record;
    used record;
BEGIN
    -- Of one person, as each call's.
    UPDATE data.usage_counters AS u SET nonces = u.nonces + c.rows
        FROM (
            SELECT array_agg(DISTINCT r.user_id) AS people, count(*) AS rows,
                bool_or(r.key_version <> 0 OR r.outcome <> 'applied') AS may_refuse
            FROM added AS r
        ) AS c
        WHERE u.user_id = c.people[1] AND cardinality(c.people) = 1
        RETURNING u.nonces, c.rows, c.may_refuse INTO used;
    IF FOUND THEN
        IF used.may_refuse
            AND used.nonces > (nullif(current_setting('data.limits', true), '')::jsonb ->> 'nonces')::bigint
        THEN
            PERFORM data.check_quota('nonces', used.nonces, used.rows);
        END IF;
        RETURN NULL;
    END IF;
    FOR change IN
        SELECT r.user_id, count(*) AS rows, bool_or(r.key_version <> 0 OR r.outcome <> 'applied') AS may_refuse
        FROM added AS r GROUP BY r.user_id ORDER BY r.user_id
    LOOP
        INSERT INTO data.usage_counters AS u (user_id, nonces) VALUES (change.user_id, change.rows)
            ON CONFLICT (user_id) DO UPDATE SET nonces = u.nonces + excluded.nonces
            RETURNING u.nonces INTO used;
        IF change.may_refuse THEN
            PERFORM data.check_quota('nonces', used.nonces, change.rows);
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION data.count_changed_encrypted_cycle_data() RETURNS trigger
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    change record;
    used bigint;
BEGIN
    IF TG_OP = 'DELETE' THEN
        FOR change IN
            SELECT r.user_id, -count(*) AS rows, -coalesce(sum(octet_length(r.encrypted_payload)), 0) AS bytes
            FROM removed AS r GROUP BY r.user_id ORDER BY r.user_id
        LOOP
            PERFORM FROM data.users AS p WHERE p.id = change.user_id FOR KEY SHARE SKIP LOCKED;
            IF FOUND THEN
                UPDATE data.usage_counters AS u
                    SET records = u.records + change.rows, record_bytes = u.record_bytes + change.bytes
                    WHERE u.user_id = change.user_id;
            END IF;
        END LOOP;
        RETURN NULL;
    END IF;
    FOR change IN
        SELECT c.user_id, sum(c.rows) AS rows, coalesce(sum(c.bytes), 0) AS bytes
        FROM (
            SELECT r.user_id, 1 AS rows, octet_length(r.encrypted_payload) AS bytes FROM added AS r
            UNION ALL
            SELECT r.user_id, -1, -octet_length(r.encrypted_payload) FROM removed AS r
        ) AS c
        GROUP BY c.user_id HAVING sum(c.rows) <> 0 OR sum(c.bytes) <> 0
        ORDER BY c.user_id
    LOOP
        PERFORM FROM data.users AS p WHERE p.id = change.user_id FOR KEY SHARE SKIP LOCKED;
        IF FOUND THEN
            UPDATE data.usage_counters AS u
                SET records = u.records + change.rows, record_bytes = u.record_bytes + change.bytes
                WHERE u.user_id = change.user_id RETURNING u.record_bytes INTO used;
            IF change.bytes > 0 THEN
                PERFORM data.check_quota('record_bytes', used, change.bytes);
            END IF;
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;

-- One change of a record, for CreateRecord, UpdateRecord and DeleteRecord. See data.apply_cycle_change for the outcomes; 'answered' and
-- 'request_id_reused' are those of a request that was applied before. `again` says that the request id was found to be taken.
CREATE FUNCTION data.change_record_1(
    caller uuid, limits text, request_id uuid, method text, payload_macs bytea[], device uuid, change data.cycle_change,
    at timestamptz, again boolean,
    OUT outcome text, OUT version bigint, OUT change_number bigint, OUT changed_at timestamptz, OUT key_version integer,
    OUT next_rotation_at timestamptz
)
    LANGUAGE plpgsql VOLATILE SECURITY INVOKER SET search_path = ''
    AS $$
#variable_conflict use_column
DECLARE
    context text;
    claims text;
    prior record;
    held record;
    number bigint;
    digest bytea;
    used_version integer;
    used_nonce bytea;
    done data.cycle_outcome;
BEGIN
    claims := pg_catalog.set_config('request.jwt.claims', '{"sub":"' || caller || '"}', true);
    context := pg_catalog.set_config('data.limits', limits, true);
    context := pg_catalog.set_config('role', 'data_user', true);
    -- Locks the person's changes, and takes the next number. It is given back below unless the change is applied.
    UPDATE data.change_counters AS c SET last_number = c.last_number + 1 WHERE c.user_id = caller
        RETURNING c.last_number INTO number;
    -- Asked once for all that follows, and after the wait for the lock: the person may have been locked meanwhile.
    IF data.check_person() THEN
        context := pg_catalog.set_config('data.admitted', claims, true);
    END IF;
    digest := data.cycle_change_digest(change);
    IF change.deleted THEN
        used_version := 0;
        used_nonce := substr(digest, 1, 24);
    ELSE
        used_version := change.key_version;
        used_nonce := change.nonce;
    END IF;
    SELECT d.status, d.epoch, d.last_active_at, d.key_version, d.next_rotation_at, r.version, r.deleted_at,
            n.nonce, u.mutations_until,
            coalesce(octet_length(r.encrypted_payload), 0) AS bytes INTO held
        FROM data.device_key AS d
            LEFT JOIN data.encrypted_cycle_data AS r ON r.user_id = d.user_id AND r.id = change.record_id
            LEFT JOIN data.envelope_nonces AS n ON n.user_id = d.user_id AND n.key_id = d.id AND n.key_version = used_version
                AND n.nonce = used_nonce
            LEFT JOIN data.usage_counters AS u ON u.user_id = d.user_id
        WHERE d.user_id = caller AND d.id = device;
    next_rotation_at := held.next_rotation_at;
    -- The change over the version that was seen. No request with its nonce was applied, so this one is not a retry of it; that its
    -- id belongs to another request is an error, after which the caller looks.
    IF NOT again AND held.status = 'active' AND held.epoch = data.sync_epoch() AND held.nonce IS NULL
        AND held.version = change.expected_version AND held.deleted_at IS NULL
        AND (change.deleted OR change.key_version = held.key_version)
    THEN
        outcome := 'applied';
        version := held.version + 1;
        change_number := number;
        changed_at := at;
        -- Written once an hour, and not with every change.
        IF held.last_active_at < at - interval '1 hour' THEN
            UPDATE data.device_key AS d SET last_active_at = at WHERE d.user_id = caller AND d.id = device;
        END IF;
        -- Otherwise the trigger decides.
        IF held.mutations_until < clock_timestamp() THEN
            context := pg_catalog.set_config('data.within_limits', 'yes', true);
        END IF;
        -- The trigger of data.requests counts these, with the request.
        context := pg_catalog.set_config('data.added_nonces', '1', true);
        context := pg_catalog.set_config('data.added_bytes', (coalesce(octet_length(change.encrypted_payload), 0) - held.bytes)::text, true);
        WITH record AS (
            UPDATE data.encrypted_cycle_data AS r
                SET encrypted_payload = change.encrypted_payload, envelope_version = change.envelope_version,
                    algorithm = change.algorithm, key_id = CASE WHEN NOT change.deleted THEN device END,
                    key_version = change.key_version, nonce = change.nonce, salt = change.salt,
                    kdf_memory_kib = change.kdf_memory_kib, kdf_iterations = change.kdf_iterations,
                    kdf_parallelism = change.kdf_parallelism, associated_data_version = change.associated_data_version,
                    version = held.version + 1, device_id = device,
                    local_timestamp = coalesce(change.local_timestamp, r.local_timestamp),
                    change_number = number,
                    deleted_at = CASE WHEN change.deleted THEN at END,
                    updated_at = at
                WHERE r.user_id = caller AND r.id = change.record_id
        ), nonce AS (
            INSERT INTO data.envelope_nonces (user_id, key_id, key_version, nonce, content_digest, outcome, version,
                    change_number, used_at)
                VALUES (caller, device, used_version, used_nonce, digest, 'applied', held.version + 1, number, at)
        )
        INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
            VALUES (caller, request_id, method, payload_macs[1],
                jsonb_build_object('record_id', change.record_id, 'version', version, 'change_number', change_number,
                    'changed_at', changed_at), at);
        RETURN;
    END IF;
    SELECT r.method, r.payload_mac, r.answer INTO prior FROM data.requests AS r WHERE r.user_id = caller AND r.id = request_id;
    IF FOUND THEN
        outcome := CASE WHEN prior.payload_mac = ANY (payload_macs) AND prior.method = method THEN 'answered'
            ELSE 'request_id_reused' END;
        version := prior.answer ->> 'version';
        change_number := prior.answer ->> 'change_number';
        changed_at := prior.answer ->> 'changed_at';
    ELSIF held.status IS DISTINCT FROM 'active' THEN
        outcome := CASE WHEN held.status IS NULL THEN 'no_device' ELSE 'device_inactive' END;
    ELSIF held.epoch <> data.sync_epoch() THEN
        outcome := 'behind';
    ELSE
        IF held.last_active_at < at - interval '1 hour' THEN
            UPDATE data.device_key AS d SET last_active_at = at WHERE d.user_id = caller AND d.id = device;
        END IF;
        done := data.apply_cycle_change(device, held.key_version, number - 1, change, false, false, false, at);
        outcome := done.outcome;
        version := done.version;
        change_number := done.change_number;
        changed_at := done.changed_at;
        key_version := done.key_version;
        IF outcome IN ('applied', 'already_applied') THEN
            INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
                VALUES (caller, request_id, method, payload_macs[1],
                    jsonb_build_object('record_id', change.record_id, 'version', version, 'change_number', change_number,
                        'changed_at', changed_at), at);
        END IF;
    END IF;
    IF outcome <> 'applied' THEN
        UPDATE data.change_counters AS c SET last_number = number - 1 WHERE c.user_id = caller;
    END IF;
    -- What is lost with a crash then is nothing that the answer says. An answer that was given before is: its commit may still wait
    -- for the standby, and this one waits for both.
    IF outcome NOT IN ('applied', 'already_applied', 'answered') THEN
        context := pg_catalog.set_config('synchronous_commit', 'off', true);
    END IF;
END
$$;
COMMENT ON FUNCTION data.change_record_1(uuid, text, uuid, text, bytea[], uuid, data.cycle_change, timestamptz, boolean) IS
    'CreateRecord, UpdateRecord and DeleteRecord: one change over the version that the device last saw.';
REVOKE EXECUTE ON FUNCTION data.change_record_1(uuid, text, uuid, text, bytea[], uuid, data.cycle_change, timestamptz, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION data.change_record_1(uuid, text, uuid, text, bytea[], uuid, data.cycle_change, timestamptz, boolean) TO data_app;

-- As data.push_cycle_changes after its beginning, with one statement for all changes that follow each other and are over the version
-- that was seen. A change that does not is applied by data.apply_cycle_change; all of them are when two are of one record, or when
-- they are not certain to be within the limits.
CREATE FUNCTION data.apply_cycle_changes_1(
    device uuid, device_key_version integer, last_number bigint, changes data.cycle_change[], keep boolean, at timestamptz
) RETURNS data.cycle_outcome[]
    LANGUAGE plpgsql VOLATILE SECURITY INVOKER SET search_path = ''
    AS $$
#variable_conflict use_column
DECLARE
    context text;
    person CONSTANT uuid := auth.uid();
    digests bytea[];
    used_versions integer[];
    used_nonces bytea[];
    kinds "char"[];
    distinct_records bigint;
    distinct_nonces bigint;
    created bigint;
    bytes bigint;
    contents bigint;
    usage data.usage_counters;
    number bigint := last_number;
    change data.cycle_change;
    done data.cycle_outcome;
    results data.cycle_outcome[] := '{}';
    failed uuid[] := '{}';
    i integer := 1;
    n CONSTANT integer := cardinality(changes);
    stop integer;
    base bigint;
BEGIN
    SELECT array_agg(e.digest ORDER BY e.place),
            array_agg(CASE WHEN e.deleted THEN 0 ELSE e.key_version END ORDER BY e.place),
            array_agg(CASE WHEN e.deleted THEN substr(e.digest, 1, 24) ELSE e.nonce END ORDER BY e.place),
            count(DISTINCT e.record_id), sum(octet_length(e.encrypted_payload)), count(e.encrypted_payload)
        INTO digests, used_versions, used_nonces, distinct_records, bytes, contents
        FROM (
            SELECT c.place, c.record_id, c.deleted, c.key_version, c.nonce, c.encrypted_payload,
                -- As data.cycle_change_digest.
                CASE WHEN c.deleted
                    THEN sha256(convert_to(concat_ws('|', 'deletion', c.record_id, c.expected_version,
                        extract(epoch FROM c.local_timestamp)), 'UTF8'))
                    ELSE sha256(c.encrypted_payload || convert_to(concat_ws('|', c.record_id, c.expected_version,
                        c.envelope_version, c.algorithm, encode(c.salt, 'hex'), c.kdf_memory_kib,
                        c.kdf_iterations, c.kdf_parallelism, c.associated_data_version,
                        extract(epoch FROM c.local_timestamp)), 'UTF8')) END AS digest
            FROM unnest(changes) WITH ORDINALITY AS c (record_id, expected_version, deleted, encrypted_payload,
                envelope_version, algorithm, key_version, nonce, salt, kdf_memory_kib, kdf_iterations, kdf_parallelism,
                associated_data_version, local_timestamp, conflict_id, place)
            OFFSET 0
        ) AS e;
    -- The values that are looked up are computed before: in an index of a table with a policy, only leakproof expressions are. LIMIT
    -- has each looked up by its whole key; a join reads all nonces of the device, when fewer are expected than there are.
    SELECT array_agg(e.kind ORDER BY e.place), count(DISTINCT e.used_nonce), count(*) FILTER (WHERE e.kind = 'c')
        INTO kinds, distinct_nonces, created
        FROM (
            SELECT c.place, c.used_nonce,
                CASE
                    WHEN used.outcome IS NOT NULL OR NOT c.deleted AND c.key_version IS DISTINCT FROM device_key_version THEN 'x'
                    WHEN r.version = c.expected_version AND r.deleted_at IS NULL THEN 'u'
                    WHEN r.version IS NULL AND c.expected_version = 0 AND NOT c.deleted AND p.id IS NULL THEN 'c'
                    ELSE 'x'
                END::"char" AS kind
            FROM ROWS FROM (unnest(changes), unnest(used_versions), unnest(used_nonces)) WITH ORDINALITY AS c (record_id,
                    expected_version, deleted, encrypted_payload, envelope_version, algorithm, key_version, nonce, salt,
                    kdf_memory_kib, kdf_iterations, kdf_parallelism, associated_data_version, local_timestamp, conflict_id,
                    used_version, used_nonce, place)
                LEFT JOIN LATERAL (SELECT h.version, h.deleted_at FROM data.encrypted_cycle_data AS h
                    WHERE h.user_id = person AND h.id = c.record_id LIMIT 1) AS r ON true
                LEFT JOIN LATERAL (SELECT n.outcome FROM data.envelope_nonces AS n
                    WHERE n.user_id = person AND n.key_id = device AND n.key_version = c.used_version
                        AND n.nonce = c.used_nonce LIMIT 1) AS used ON true
                LEFT JOIN LATERAL (SELECT g.id FROM data.purged_records AS g
                    WHERE g.user_id = person AND g.id = c.record_id AND r.version IS NULL LIMIT 1) AS p ON true
        ) AS e;
    IF contents > 0 THEN
        SELECT u.* INTO usage FROM data.usage_counters AS u WHERE u.user_id = person;
    END IF;
    IF distinct_records <> n OR distinct_nonces <> n
        OR contents > 0 AND NOT data.within_limits_1(usage, created, bytes, n)
    THEN
        -- One after another: what becomes of one depends on those before it.
        kinds := array_fill('x'::"char", ARRAY[n]);
    END IF;
    WHILE i <= n LOOP
        IF kinds[i] = 'x' THEN
            change := changes[i];
            done := data.apply_cycle_change(device, device_key_version, number, change, keep, change.record_id = ANY (failed),
                false, at);
            number := greatest(number, done.change_number);
            IF done.outcome NOT IN ('applied', 'already_applied') THEN
                failed := failed || change.record_id;
            END IF;
            results := results || done;
            i := i + 1;
            CONTINUE;
        END IF;
        stop := i;
        WHILE stop < n AND kinds[stop + 1] <> 'x' LOOP
            stop := stop + 1;
        END LOOP;
        base := number - i + 1;
        context := pg_catalog.set_config('data.within_limits', 'yes', true);
        UPDATE data.encrypted_cycle_data AS r
            SET encrypted_payload = c.encrypted_payload, envelope_version = c.envelope_version, algorithm = c.algorithm,
                key_id = CASE WHEN NOT c.deleted THEN device END, key_version = c.key_version, nonce = c.nonce, salt = c.salt,
                kdf_memory_kib = c.kdf_memory_kib, kdf_iterations = c.kdf_iterations, kdf_parallelism = c.kdf_parallelism,
                associated_data_version = c.associated_data_version, version = c.expected_version + 1, device_id = device,
                local_timestamp = coalesce(c.local_timestamp, r.local_timestamp), change_number = base + c.place,
                deleted_at = CASE WHEN c.deleted THEN at END, updated_at = at
            FROM unnest(changes) WITH ORDINALITY AS c (record_id, expected_version, deleted, encrypted_payload, envelope_version,
                algorithm, key_version, nonce, salt, kdf_memory_kib, kdf_iterations, kdf_parallelism,
                associated_data_version, local_timestamp, conflict_id, place)
            WHERE r.user_id = person AND r.id = c.record_id AND c.place BETWEEN i AND stop AND kinds[c.place] = 'u';
        IF created > 0 THEN
            INSERT INTO data.encrypted_cycle_data (user_id, id, encrypted_payload, envelope_version, algorithm, key_id,
                    key_version, nonce, salt, kdf_memory_kib, kdf_iterations, kdf_parallelism, associated_data_version, version,
                    device_id, local_timestamp, change_number, created_at, updated_at)
                SELECT person, c.record_id, c.encrypted_payload, c.envelope_version, c.algorithm, device, c.key_version, c.nonce,
                    c.salt, c.kdf_memory_kib, c.kdf_iterations, c.kdf_parallelism, c.associated_data_version, 1, device,
                    c.local_timestamp, base + c.place, at, at
                FROM unnest(changes) WITH ORDINALITY AS c (record_id, expected_version, deleted, encrypted_payload,
                    envelope_version, algorithm, key_version, nonce, salt, kdf_memory_kib, kdf_iterations, kdf_parallelism,
                    associated_data_version, local_timestamp, conflict_id, place)
                WHERE c.place BETWEEN i AND stop AND kinds[c.place] = 'c';
        END IF;
        context := pg_catalog.set_config('data.within_limits', '', true);
        INSERT INTO data.envelope_nonces (user_id, key_id, key_version, nonce, content_digest, outcome, version,
                change_number, used_at)
            SELECT person, device, c.used_version, c.used_nonce, c.digest, 'applied', c.expected_version + 1, base + c.place, at
            FROM ROWS FROM (unnest(changes), unnest(used_versions), unnest(used_nonces), unnest(digests)) WITH ORDINALITY AS c
                (record_id, expected_version, deleted, encrypted_payload, envelope_version, algorithm, key_version, nonce, salt,
                kdf_memory_kib, kdf_iterations, kdf_parallelism, associated_data_version, local_timestamp, conflict_id,
                used_version, used_nonce, digest, place)
            WHERE c.place BETWEEN i AND stop;
        results := results || ARRAY(
            SELECT ROW('applied', c.expected_version + 1, base + c.place, at, NULL, NULL)::data.cycle_outcome
            FROM unnest(changes) WITH ORDINALITY AS c (record_id, expected_version, deleted, encrypted_payload,
                envelope_version, algorithm, key_version, nonce, salt, kdf_memory_kib, kdf_iterations, kdf_parallelism,
                associated_data_version, local_timestamp, conflict_id, place)
            WHERE c.place BETWEEN i AND stop ORDER BY c.place);
        number := base + stop;
        i := stop + 1;
    END LOOP;
    IF number > last_number THEN
        UPDATE data.change_counters AS c SET last_number = number WHERE c.user_id = person;
    END IF;
    RETURN results;
END
$$;
COMMENT ON FUNCTION data.apply_cycle_changes_1(uuid, integer, bigint, data.cycle_change[], boolean, timestamptz) IS
    'Applies changes of one device in their order, under the lock of the person''s changes.';
REVOKE EXECUTE ON FUNCTION data.apply_cycle_changes_1(uuid, integer, bigint, data.cycle_change[], boolean, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION data.apply_cycle_changes_1(uuid, integer, bigint, data.cycle_change[], boolean, timestamptz) TO data_user;

-- The changes of a device, for PushChanges. answer has the result of each change, or one result that is not about a change: 'no_device',
-- 'device_inactive' or 'behind'. stands is false when an atomic push was rolled back, because one of its changes is not applied: it is
-- not remembered, and counted as one mutation.
CREATE FUNCTION data.push_changes_1(
    caller uuid, limits text, request_id uuid, payload_macs bytea[], device uuid, keep boolean, at timestamptz,
    changes data.cycle_change[],
    OUT same boolean, OUT now boolean, OUT stands boolean, OUT answer text, OUT next_rotation_at timestamptz
)
    LANGUAGE plpgsql VOLATILE SECURITY INVOKER SET search_path = ''
    AS $$
#variable_conflict use_column
DECLARE
    context text;
    claims text;
    prior record;
    held record;
    results data.cycle_outcome[];
BEGIN
    claims := pg_catalog.set_config('request.jwt.claims', '{"sub":"' || caller || '"}', true);
    context := pg_catalog.set_config('data.limits', limits, true);
    context := pg_catalog.set_config('role', 'data_user', true);
    SELECT c.last_number, r.method, r.payload_mac, r.answer INTO prior
        FROM data.change_counters AS c LEFT JOIN data.requests AS r ON r.user_id = c.user_id AND r.id = request_id
        WHERE c.user_id = caller
        FOR NO KEY UPDATE OF c;
    -- Asked once for all that follows, and after the wait for the lock: the person may have been locked meanwhile.
    IF data.check_person() THEN
        context := pg_catalog.set_config('data.admitted', claims, true);
    END IF;
    SELECT d.status, d.epoch, d.last_active_at, d.key_version, d.next_rotation_at INTO held
        FROM data.device_key AS d WHERE d.user_id = caller AND d.id = device;
    same := true;
    now := true;
    stands := true;
    next_rotation_at := held.next_rotation_at;
    IF prior.method IS NOT NULL THEN
        same := prior.payload_mac = ANY (payload_macs) AND prior.method = 'PushChanges';
        now := false;
        answer := CASE WHEN same THEN prior.answer::text ELSE '[]' END;
        RETURN;
    END IF;
    IF held.status IS DISTINCT FROM 'active' THEN
        answer := CASE WHEN held.status IS NULL THEN '[{"outcome":"no_device"}]' ELSE '[{"outcome":"device_inactive"}]' END;
        RETURN;
    ELSIF held.epoch <> data.sync_epoch() THEN
        answer := '[{"outcome":"behind"}]';
        RETURN;
    END IF;
    IF keep THEN
        results := data.apply_cycle_changes_1(device, held.key_version, prior.last_number, changes, true, at);
    ELSE
        BEGIN
            results := data.apply_cycle_changes_1(device, held.key_version, prior.last_number, changes, false, at);
            IF EXISTS (SELECT FROM unnest(results) AS r WHERE r.outcome NOT IN ('applied', 'already_applied')) THEN
                RAISE EXCEPTION USING ERRCODE = 'UP001', MESSAGE = 'a change of an atomic push is not applied';
            END IF;
        EXCEPTION WHEN SQLSTATE 'UP001' THEN
            stands := false;
        END;
    END IF;
    answer := (SELECT '[' || string_agg('{"outcome":"' || r.outcome || '"' || coalesce(',"version":' || r.version, '')
            || coalesce(',"change_number":' || r.change_number, '')
            || coalesce(',"conflict_id":"' || r.conflict_id || '"', '') || coalesce(',"key_version":' || r.key_version, '')
            || '}', ',' ORDER BY r.place) || ']'
        FROM unnest(results) WITH ORDINALITY AS r (outcome, version, change_number, changed_at, conflict_id, key_version, place));
    IF NOT stands THEN
        -- The database wrote changes, and took them back.
        BEGIN
            PERFORM data.charge_mutations(1);
        EXCEPTION WHEN SQLSTATE 'UR001' THEN
            NULL;
        END;
        RETURN;
    END IF;
    -- Written once an hour, and not with every push.
    IF held.last_active_at < at - interval '1 hour' THEN
        UPDATE data.device_key AS d SET last_active_at = at WHERE d.user_id = caller AND d.id = device;
    END IF;
    INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
        VALUES (caller, request_id, 'PushChanges', payload_macs[1], answer::jsonb, at);
END
$$;
COMMENT ON FUNCTION data.push_changes_1(uuid, text, uuid, bytea[], uuid, boolean, timestamptz, data.cycle_change[]) IS
    'PushChanges: applies the changes of a device in their order.';
REVOKE EXECUTE ON FUNCTION data.push_changes_1(uuid, text, uuid, bytea[], uuid, boolean, timestamptz, data.cycle_change[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION data.push_changes_1(uuid, text, uuid, bytea[], uuid, boolean, timestamptz, data.cycle_change[]) TO data_app;

SET LOCAL row_security = on;
