SET LOCAL row_security = off;

DROP FUNCTION data.push_changes_1(uuid, text, uuid, bytea[], uuid, boolean, timestamptz, data.cycle_change[]);
DROP FUNCTION data.apply_cycle_changes_1(uuid, integer, bigint, data.cycle_change[], boolean, timestamptz);
DROP FUNCTION data.change_record_1(uuid, text, uuid, text, bytea[], uuid, data.cycle_change, timestamptz, boolean);

CREATE OR REPLACE TRIGGER usage_insert AFTER INSERT ON data.envelope_nonces REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION data.count_added_envelope_nonces();
CREATE OR REPLACE TRIGGER usage_update AFTER UPDATE ON data.encrypted_cycle_data REFERENCING OLD TABLE AS removed NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION data.count_changed_encrypted_cycle_data();
CREATE OR REPLACE TRIGGER refuse_early_update BEFORE UPDATE OF encrypted_payload ON data.encrypted_cycle_data FOR EACH ROW
    WHEN (NEW.encrypted_payload IS NOT NULL)
    EXECUTE FUNCTION data.refuse_early();
CREATE OR REPLACE TRIGGER refuse_early BEFORE INSERT ON data.encrypted_cycle_data FOR EACH ROW
    WHEN (NEW.encrypted_payload IS NOT NULL)
    EXECUTE FUNCTION data.refuse_early('record_bytes', 'records', 'deleted_records', 'nonces', 'requests', 'request_bytes');
DROP FUNCTION data.within_limits_1(data.usage_counters, bigint, bigint, bigint);

CREATE OR REPLACE FUNCTION data.count_changed_encrypted_cycle_data()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
            DECLARE
                change record;
                used data.usage_counters;
            BEGIN
                IF TG_OP = 'DELETE' THEN
                    FOR change IN
                        SELECT r.user_id, -(count(*))::bigint AS rows, -(coalesce(sum(octet_length(r.encrypted_payload)), 0))::bigint AS bytes
                        FROM removed AS r GROUP BY r.user_id ORDER BY r.user_id
                    LOOP
                        PERFORM FROM data.users AS p WHERE p.id = change.user_id FOR KEY SHARE SKIP LOCKED;
                        IF FOUND THEN
                            UPDATE data.usage_counters AS u SET records = u.records + change.rows, record_bytes = u.record_bytes + change.bytes WHERE u.user_id = change.user_id;
                        END IF;
                    END LOOP;
                    RETURN NULL;
                END IF;
                FOR change IN
                    SELECT c.user_id, sum(c.rows)::bigint AS rows, sum(c.bytes)::bigint AS bytes
                    FROM (
                        SELECT r.user_id, count(*) AS rows, coalesce(sum(octet_length(r.encrypted_payload)), 0) AS bytes FROM added AS r GROUP BY r.user_id
                        UNION ALL
                        SELECT r.user_id, -(count(*)), -(coalesce(sum(octet_length(r.encrypted_payload)), 0)) FROM removed AS r GROUP BY r.user_id
                    ) AS c
                    GROUP BY c.user_id HAVING sum(c.rows) <> 0 OR sum(c.bytes) <> 0
                    ORDER BY c.user_id
                LOOP
                    PERFORM FROM data.users AS p WHERE p.id = change.user_id FOR KEY SHARE SKIP LOCKED;
                    IF FOUND THEN
                        UPDATE data.usage_counters AS u SET records = u.records + change.rows, record_bytes = u.record_bytes + change.bytes WHERE u.user_id = change.user_id RETURNING u.* INTO used;
                        IF change.bytes > 0 THEN PERFORM data.check_quota('record_bytes', used.record_bytes, change.bytes); END IF;
                    END IF;
                END LOOP;
                RETURN NULL;
            END
            $function$;

CREATE OR REPLACE FUNCTION data.count_added_envelope_nonces()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
            DECLARE
                change record;
                used data.usage_counters;
            BEGIN
                FOR change IN
                    SELECT r.user_id, (count(*))::bigint AS rows, (0)::bigint AS bytes, bool_or(r.key_version <> 0 OR r.outcome <> 'applied') AS may_refuse
                    FROM added AS r GROUP BY r.user_id ORDER BY r.user_id
                LOOP
                    INSERT INTO data.usage_counters AS u (user_id, nonces) VALUES (change.user_id, change.rows)
                        ON CONFLICT (user_id) DO UPDATE SET nonces = u.nonces + excluded.nonces
                        RETURNING u.* INTO used;
                    IF change.may_refuse THEN
                        PERFORM data.check_quota('nonces', used.nonces, change.rows); 
                    END IF;
                END LOOP;
                RETURN NULL;
            END
            $function$;

CREATE OR REPLACE FUNCTION data.count_added_requests()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
DECLARE
    change record;
    used data.usage_counters;
BEGIN
    FOR change IN
        SELECT r.user_id, count(*) AS rows, sum(octet_length(r.answer::text))::bigint AS bytes,
            bool_and(r.method LIKE 'Delete%'
                OR r.method IN ('SuspendDevice', 'RevokeDevice') AND r.answer ? 'stopped') AS exempt
        FROM added AS r WHERE NOT r.by_service GROUP BY r.user_id ORDER BY r.user_id
    LOOP
        PERFORM data.admit_mutations(change.user_id, change.rows::integer, change.exempt);
        INSERT INTO data.usage_counters AS u (user_id, requests, request_bytes)
            VALUES (change.user_id, change.rows, change.bytes)
            ON CONFLICT (user_id) DO UPDATE SET requests = u.requests + excluded.requests,
                request_bytes = u.request_bytes + excluded.request_bytes
            RETURNING u.* INTO used;
        IF NOT change.exempt THEN
            PERFORM data.check_quota('requests', used.requests, change.rows);
            PERFORM data.check_quota('request_bytes', used.request_bytes, change.bytes);
        END IF;
    END LOOP;
    RETURN NULL;
END
$function$;

CREATE OR REPLACE FUNCTION data.sync_epoch()
 RETURNS uuid
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION data.mutation_wait(
    until timestamptz, reset_at timestamptz, emission interval, tolerance interval, moment timestamptz
) RETURNS interval
    LANGUAGE sql IMMUTABLE SECURITY INVOKER
    RETURN CASE
        WHEN until IS NULL OR emission IS NULL OR until <= moment + tolerance THEN interval '0'
        WHEN until <= moment + tolerance + emission + interval '10 seconds' THEN until - tolerance - moment
        WHEN reset_at BETWEEN moment - interval '1 hour' AND moment
            THEN least(until - tolerance - moment, reset_at + interval '1 hour' - moment)
        ELSE interval '0'
    END;
REVOKE EXECUTE ON FUNCTION data.mutation_wait(timestamptz, timestamptz, interval, interval, timestamptz) FROM data_user;

CREATE OR REPLACE FUNCTION data.admit_person()
 RETURNS boolean
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
BEGIN
    IF current_setting('data.changes_seals', true) IS DISTINCT FROM 'yes'
        AND EXISTS (SELECT FROM data.users AS u WHERE u.id = auth.uid() AND u.locked_at IS NOT NULL)
    THEN
        RAISE EXCEPTION USING ERRCODE = 'UL001', MESSAGE = 'the person is locked';
    END IF;
    RETURN true;
END
$function$;
DROP FUNCTION data.check_person();

SET LOCAL row_security = on;
