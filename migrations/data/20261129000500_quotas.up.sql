-- oldest_binary: 20261129000100
SET LOCAL row_security = off;

-- What each person uses. The triggers below keep the counters, so each path counts: calls, psql, sweeps, purges and erasures.
-- No role can write them. The numbers are never computed with count(*) by a call.
--
-- mutations_until is the theoretical arrival time of the rate limit on mutations (GCRA). mutations_reset_at is when it was last
-- found to be of another limit or of another server's clock, and was set to a used-up burst.
CREATE TABLE data.usage_counters (
    user_id uuid NOT NULL,
    messages bigint NOT NULL DEFAULT 0,
    message_bytes bigint NOT NULL DEFAULT 0,
    analysis_jobs bigint NOT NULL DEFAULT 0,
    analysis_bytes bigint NOT NULL DEFAULT 0,
    crisis_events bigint NOT NULL DEFAULT 0,
    records bigint NOT NULL DEFAULT 0,
    record_bytes bigint NOT NULL DEFAULT 0,
    deleted_records bigint NOT NULL DEFAULT 0,
    conflicts bigint NOT NULL DEFAULT 0,
    conflict_bytes bigint NOT NULL DEFAULT 0,
    nonces bigint NOT NULL DEFAULT 0,
    shares bigint NOT NULL DEFAULT 0,
    share_bytes bigint NOT NULL DEFAULT 0,
    requests bigint NOT NULL DEFAULT 0,
    request_bytes bigint NOT NULL DEFAULT 0,
    mutations_until timestamptz,
    mutations_reset_at timestamptz,
    CONSTRAINT usage_counters_pkey PRIMARY KEY (user_id),
    CONSTRAINT usage_counters_user_id_fkey FOREIGN KEY (user_id) REFERENCES data.users (id) ON DELETE CASCADE
) WITH (
    -- Each mutation updates its person's row several times: room for those versions beside it, and no index changes.
    fillfactor = 50
);
COMMENT ON TABLE data.usage_counters IS 'The number of rows and bytes of each person, for quotas.';

ALTER TABLE data.usage_counters ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

GRANT SELECT ON data.usage_counters TO data_user, data_service;
CREATE POLICY usage_counters_user_select ON data.usage_counters FOR SELECT TO data_user
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY usage_counters_service_select ON data.usage_counters FOR SELECT TO data_service
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY usage_counters_owner_select ON data.usage_counters FOR SELECT TO data_owner
    USING (user_id = (SELECT auth.uid()));
-- For data.charge_mutations.
CREATE POLICY usage_counters_owner_insert ON data.usage_counters FOR INSERT TO data_owner
    WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY usage_counters_owner_update ON data.usage_counters FOR UPDATE TO data_owner
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));
-- The triggers run as the owner, also in transactions without a person, such as sweeps. Outside of a trigger these policies
-- show the owner nothing.
CREATE POLICY usage_counters_count_select ON data.usage_counters FOR SELECT TO data_owner
    USING ((SELECT pg_trigger_depth()) > 0);
CREATE POLICY usage_counters_count_insert ON data.usage_counters FOR INSERT TO data_owner
    WITH CHECK ((SELECT pg_trigger_depth()) > 0);
CREATE POLICY usage_counters_count_update ON data.usage_counters FOR UPDATE TO data_owner
    USING ((SELECT pg_trigger_depth()) > 0) WITH CHECK ((SELECT pg_trigger_depth()) > 0);
CREATE POLICY users_count_select ON data.users FOR SELECT TO data_owner USING ((SELECT pg_trigger_depth()) > 0);
-- A lock is an update to a policy.
CREATE POLICY users_count_lock ON data.users FOR UPDATE TO data_owner
    USING ((SELECT pg_trigger_depth()) > 0) WITH CHECK (false);

CREATE POLICY usage_counters_admit_select ON data.usage_counters AS RESTRICTIVE FOR SELECT TO data_user
    USING ((SELECT data.admit_person()) IS NOT NULL);
CREATE POLICY usage_counters_admit_insert ON data.usage_counters AS RESTRICTIVE FOR INSERT TO data_user
    WITH CHECK ((SELECT data.admit_person()) IS NOT NULL);
CREATE POLICY usage_counters_admit_update ON data.usage_counters AS RESTRICTIVE FOR UPDATE TO data_user
    USING ((SELECT data.admit_person()) IS NOT NULL) WITH CHECK ((SELECT data.admit_person()) IS NOT NULL);
CREATE POLICY usage_counters_admit_delete ON data.usage_counters AS RESTRICTIVE FOR DELETE TO data_user
    USING ((SELECT data.admit_person()) IS NOT NULL);

-- Fails with UQ001 when more is used than the transaction's limit allows. The limits are a setting of the transaction,
-- data.limits, an object with the limit of each quota. A quota that it does not name is not limited. The constraint of the
-- error is the name of the quota, and its detail is what was used before and the limit.
CREATE FUNCTION data.check_quota(quota text, used bigint, added bigint) RETURNS void
    LANGUAGE plpgsql STABLE SECURITY INVOKER SET search_path = ''
    AS $$
DECLARE
    allowed CONSTANT bigint := nullif(current_setting('data.limits', true), '')::jsonb ->> quota;
BEGIN
    IF used > allowed THEN
        RAISE EXCEPTION USING ERRCODE = 'UQ001', MESSAGE = 'a quota is used up', CONSTRAINT = quota,
            DETAIL = format('%s/%s', used - added, allowed);
    END IF;
END
$$;
COMMENT ON FUNCTION data.check_quota(text, bigint, bigint) IS
    'Fails with UQ001 when more is used of a quota than the transaction''s limits allow.';

-- Whether a job that a message makes is within the limits. Such a job is not made when they are used up, and never refuses its
-- message. VOLATILE: it sees what was committed while the statement waited for its turn.
CREATE FUNCTION data.may_analyze() RETURNS boolean
    LANGUAGE plpgsql VOLATILE SECURITY INVOKER SET search_path = ''
    AS $$
DECLARE
    limits CONSTANT jsonb := nullif(current_setting('data.limits', true), '')::jsonb;
    used record;
BEGIN
    SELECT u.analysis_jobs, u.analysis_bytes INTO used FROM data.usage_counters AS u WHERE u.user_id = auth.uid();
    RETURN coalesce(used.analysis_jobs < (limits ->> 'analysis_jobs')::bigint, true)
        AND coalesce(used.analysis_bytes < (limits ->> 'analysis_bytes')::bigint, true);
END
$$;
COMMENT ON FUNCTION data.may_analyze() IS 'Whether the transaction''s limits allow another analysis of the transaction''s person.';
GRANT EXECUTE ON FUNCTION data.may_analyze() TO data_user;

-- How long the next mutation has to wait, by a stored time. 0: it is admitted.
--
-- A time that no mutation can have stored under this limit is of a limit that was stricter, or of another server's clock before a
-- failover: it counts as a used-up burst, which admits the next mutation. Once in an hour: replicas with different limits would
-- otherwise give each other's callers a new burst for ever.
CREATE FUNCTION data.mutation_wait(
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
COMMENT ON FUNCTION data.mutation_wait(timestamptz, timestamptz, interval, interval, timestamptz) IS
    'How long a mutation has to wait by the rate limit; 0 if it is admitted.';

-- Counts `mutations` of the person against the rate limit of the transaction, and fails with UR001 when they are over the limit,
-- unless they are exempt. data.limits has mutation_emission and mutation_tolerance in microseconds, and mutations, how many are
-- admitted at once. The detail of the error is the wait in milliseconds and that number.
CREATE FUNCTION data.admit_mutations(person uuid, mutations integer, exempt boolean) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY INVOKER SET search_path = ''
    AS $$
DECLARE
    limits CONSTANT jsonb := nullif(current_setting('data.limits', true), '')::jsonb;
    emission CONSTANT interval := make_interval(secs => (limits ->> 'mutation_emission')::double precision / 1000000);
    tolerance CONSTANT interval := make_interval(secs => (limits ->> 'mutation_tolerance')::double precision / 1000000);
    used data.usage_counters;
    moment timestamptz;
    wait interval;
BEGIN
    IF emission IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO data.usage_counters AS u (user_id) VALUES (person) ON CONFLICT (user_id) DO NOTHING;
    SELECT u.* INTO used FROM data.usage_counters AS u WHERE u.user_id = person FOR NO KEY UPDATE;
    -- After the wait for the row.
    moment := clock_timestamp();
    wait := data.mutation_wait(used.mutations_until, used.mutations_reset_at, emission, tolerance, moment);
    IF wait > interval '0' THEN
        IF exempt THEN
            RETURN;
        END IF;
        RAISE EXCEPTION USING ERRCODE = 'UR001', MESSAGE = 'too many mutations', CONSTRAINT = 'mutations',
            DETAIL = format('%s/%s', ceil(extract(epoch FROM wait) * 1000), limits ->> 'mutations');
    END IF;
    -- Several at once may go beyond the limit by what they are more than one. The next mutation waits for it.
    UPDATE data.usage_counters AS u
        SET mutations_until = least(
                least(greatest(used.mutations_until, moment), moment + tolerance) + mutations * emission,
                moment + tolerance + emission),
            mutations_reset_at = CASE WHEN used.mutations_until > moment + tolerance THEN moment
                ELSE used.mutations_reset_at END
        WHERE u.user_id = person;
END
$$;
COMMENT ON FUNCTION data.admit_mutations(uuid, integer, boolean) IS
    'Counts mutations of a person against the rate limit of the transaction. Fails with UR001 when they are over the limit.';

-- Counts what adds no row of data.requests, and costs the service as much as so many mutations do.
CREATE FUNCTION data.charge_mutations(mutations integer) RETURNS void
    LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    PERFORM data.admit_mutations(auth.uid(), charge_mutations.mutations, false);
END
$$;
COMMENT ON FUNCTION data.charge_mutations(integer) IS
    'Counts so many mutations of the transaction''s person. Fails with UR001 when they are over the rate limit.';
GRANT EXECUTE ON FUNCTION data.charge_mutations(integer) TO data_user;

-- Refuses a row of a person who is over a limit before its content is written: a refused call costs no disk, and the checks after the
-- statement take back nothing large. The arguments are the quotas of rows; the bytes of the content are compared exactly.
CREATE FUNCTION data.refuse_early() RETURNS trigger
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    limits CONSTANT jsonb := nullif(current_setting('data.limits', true), '')::jsonb;
    used data.usage_counters;
    counters jsonb;
    quota text;
    bytes bigint;
    wait interval;
BEGIN
    -- The policies, which come after this trigger, refuse a row of another person.
    IF limits IS NULL OR NEW.user_id IS DISTINCT FROM auth.uid() THEN
        RETURN NEW;
    END IF;
    SELECT u.* INTO used FROM data.usage_counters AS u WHERE u.user_id = NEW.user_id;
    IF NOT FOUND THEN
        RETURN NEW;
    END IF;
    wait := data.mutation_wait(used.mutations_until, used.mutations_reset_at,
        make_interval(secs => (limits ->> 'mutation_emission')::double precision / 1000000),
        make_interval(secs => (limits ->> 'mutation_tolerance')::double precision / 1000000), clock_timestamp());
    IF wait > interval '0' THEN
        RAISE EXCEPTION USING ERRCODE = 'UR001', MESSAGE = 'too many mutations', CONSTRAINT = 'mutations',
            DETAIL = format('%s/%s', ceil(extract(epoch FROM wait) * 1000), limits ->> 'mutations');
    END IF;
    IF TG_OP = 'UPDATE' THEN
        RETURN NEW;
    END IF;
    IF TG_TABLE_NAME = 'conversations' THEN
        bytes := octet_length(NEW.message_text);
    ELSE
        bytes := octet_length(NEW.encrypted_payload);
    END IF;
    PERFORM data.check_quota(TG_ARGV[0], CASE TG_ARGV[0] WHEN 'message_bytes' THEN used.message_bytes
        WHEN 'record_bytes' THEN used.record_bytes WHEN 'conflict_bytes' THEN used.conflict_bytes
        WHEN 'share_bytes' THEN used.share_bytes END + bytes, bytes);
    counters := to_jsonb(used);
    FOREACH quota IN ARRAY TG_ARGV[1:] LOOP
        PERFORM data.check_quota(quota, (counters ->> quota)::bigint + 1, 1);
    END LOOP;
    RETURN NEW;
END
$$;

-- Answers that a service's call left do not use up the quota of the person.
ALTER TABLE data.requests ADD COLUMN by_service boolean NOT NULL DEFAULT false;
ALTER TABLE data.requests ALTER COLUMN by_service SET DEFAULT current_user = 'data_service';
COMMENT ON COLUMN data.requests.by_service IS 'Whether a service made the call, and not the person.';
DROP POLICY requests_user_insert ON data.requests;
CREATE POLICY requests_user_insert ON data.requests FOR INSERT TO data_user
    WITH CHECK (user_id = (SELECT auth.uid()) AND NOT by_service);

-- One pair of trigger functions for each counted table.
--
-- Locks: a writer has locked its counter, and then the person by a foreign key, before its trigger locks the row here; an
-- erasure locks in the same order. A deletion may come from a sweep, which has locked rows of many people and must not wait
-- for an erasure that waits for those rows. So it skips a person who is locked: only an erasure holds that lock, and the
-- counters go with the person.
ALTER TABLE data.conversations NO FORCE ROW LEVEL SECURITY;
ALTER TABLE data.analysis_jobs NO FORCE ROW LEVEL SECURITY;
ALTER TABLE data.analysis_results NO FORCE ROW LEVEL SECURITY;
ALTER TABLE data.crisis_events NO FORCE ROW LEVEL SECURITY;
ALTER TABLE data.encrypted_cycle_data NO FORCE ROW LEVEL SECURITY;
ALTER TABLE data.purged_records NO FORCE ROW LEVEL SECURITY;
ALTER TABLE data.cycle_data_conflicts NO FORCE ROW LEVEL SECURITY;
ALTER TABLE data.envelope_nonces NO FORCE ROW LEVEL SECURITY;
ALTER TABLE data.healthcare_share NO FORCE ROW LEVEL SECURITY;
ALTER TABLE data.requests NO FORCE ROW LEVEL SECURITY;
ALTER TABLE data.usage_counters NO FORCE ROW LEVEL SECURITY;
DO $$
DECLARE
    spec record;
    names text;
    given text;
    sums text;
    checks text;
BEGIN
    FOR spec IN
        SELECT * FROM (VALUES
            -- The table, its columns here, how its rows and bytes are counted, which new rows a quota may refuse, and what
            -- else refuses them.
            ('conversations', 'messages', 'message_bytes', 'count(*)', 'sum(octet_length(r.message_text))', 'true', ''),
            -- A job that is done counts as its result, so a deleted analysis counts no more. A job that a message makes is never
            -- refused: see data.may_analyze.
            ('analysis_jobs', 'analysis_jobs', NULL, 'count(*) FILTER (WHERE r.state <> ''done'')', '0', 'r.requested',
                'PERFORM data.check_quota(''analysis_bytes'', used.analysis_bytes + 1, 1);'),
            -- Results are never refused: they follow the jobs.
            ('analysis_results', 'analysis_jobs', 'analysis_bytes', 'count(*)', 'sum(octet_length(r.details))', 'false', ''),
            -- Never refused: a refusal would lose the message, or the event.
            ('crisis_events', 'crisis_events', NULL, 'count(*)', '0', 'false', ''),
            ('encrypted_cycle_data', 'records', 'record_bytes', 'count(*)',
                'coalesce(sum(octet_length(r.encrypted_payload)), 0)', 'true',
                'PERFORM data.check_quota(''deleted_records'', used.deleted_records + 1, 1);'),
            -- A purge is never refused. A new record is, when too many ids are kept.
            ('purged_records', 'deleted_records', NULL, 'count(*)', '0', 'false', ''),
            ('cycle_data_conflicts', 'conflicts', 'conflict_bytes', 'count(*)',
                'coalesce(sum(octet_length(r.encrypted_payload)), 0)', 'true', ''),
            -- The nonce of a deletion that takes effect. There are no more of them than of others.
            ('envelope_nonces', 'nonces', NULL, 'count(*)', '0', 'r.key_version <> 0 OR r.outcome <> ''applied''', ''),
            -- Shares that still have their content.
            ('healthcare_share', 'shares', 'share_bytes', 'count(r.encrypted_payload)',
                'coalesce(sum(octet_length(r.encrypted_payload)), 0)', 'true', '')
        ) AS t (relation, rows_column, bytes_column, rows, bytes, may_refuse, more_checks)
    LOOP
        names := concat_ws(', ', spec.rows_column, spec.bytes_column);
        given := concat_ws(', ', CASE WHEN spec.rows_column IS NOT NULL THEN 'change.rows' END,
            CASE WHEN spec.bytes_column IS NOT NULL THEN 'change.bytes' END);
        sums := concat_ws(', ',
            CASE WHEN spec.rows_column IS NOT NULL THEN format('%1$I = u.%1$I + change.rows', spec.rows_column) END,
            CASE WHEN spec.bytes_column IS NOT NULL THEN format('%1$I = u.%1$I + change.bytes', spec.bytes_column) END);
        checks := concat_ws(' ',
            CASE WHEN spec.rows_column IS NOT NULL
                THEN format('PERFORM data.check_quota(%1$L, used.%1$I, change.rows);', spec.rows_column) END,
            CASE WHEN spec.bytes_column IS NOT NULL
                THEN format('PERFORM data.check_quota(%1$L, used.%1$I, change.bytes);', spec.bytes_column) END,
            spec.more_checks);
        EXECUTE format($function$
            CREATE FUNCTION data.count_added_%1$s() RETURNS trigger
                LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
                AS $body$
            DECLARE
                change record;
                used data.usage_counters;
            BEGIN
                FOR change IN
                    SELECT r.user_id, (%2$s)::bigint AS rows, (%3$s)::bigint AS bytes, bool_or(%4$s) AS may_refuse
                    FROM added AS r GROUP BY r.user_id ORDER BY r.user_id
                LOOP
                    INSERT INTO data.usage_counters AS u (user_id, %5$s) VALUES (change.user_id, %6$s)
                        ON CONFLICT (user_id) DO UPDATE SET %7$s
                        RETURNING u.* INTO used;
                    IF change.may_refuse THEN
                        %8$s
                    END IF;
                END LOOP;
                RETURN NULL;
            END
            $body$
            $function$, spec.relation, spec.rows, spec.bytes, spec.may_refuse, names, given,
            replace(replace(sums, 'change.rows', 'excluded.' || coalesce(spec.rows_column, '')), 'change.bytes',
                'excluded.' || coalesce(spec.bytes_column, '')),
            checks);
        EXECUTE format($function$
            CREATE FUNCTION data.count_changed_%1$s() RETURNS trigger
                LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
                AS $body$
            DECLARE
                change record;
                used data.usage_counters;
            BEGIN
                IF TG_OP = 'DELETE' THEN
                    FOR change IN
                        SELECT r.user_id, -(%2$s)::bigint AS rows, -(%3$s)::bigint AS bytes
                        FROM removed AS r GROUP BY r.user_id ORDER BY r.user_id
                    LOOP
                        PERFORM FROM data.users AS p WHERE p.id = change.user_id FOR KEY SHARE SKIP LOCKED;
                        IF FOUND THEN
                            UPDATE data.usage_counters AS u SET %4$s WHERE u.user_id = change.user_id;
                        END IF;
                    END LOOP;
                    RETURN NULL;
                END IF;
                FOR change IN
                    SELECT c.user_id, sum(c.rows)::bigint AS rows, sum(c.bytes)::bigint AS bytes
                    FROM (
                        SELECT r.user_id, %2$s AS rows, %3$s AS bytes FROM added AS r GROUP BY r.user_id
                        UNION ALL
                        SELECT r.user_id, -(%2$s), -(%3$s) FROM removed AS r GROUP BY r.user_id
                    ) AS c
                    GROUP BY c.user_id HAVING sum(c.rows) <> 0 OR sum(c.bytes) <> 0
                    ORDER BY c.user_id
                LOOP
                    PERFORM FROM data.users AS p WHERE p.id = change.user_id FOR KEY SHARE SKIP LOCKED;
                    IF FOUND THEN
                        UPDATE data.usage_counters AS u SET %4$s WHERE u.user_id = change.user_id RETURNING u.* INTO used;
                        %5$s
                    END IF;
                END LOOP;
                RETURN NULL;
            END
            $body$
            $function$, spec.relation, spec.rows, spec.bytes, sums,
            CASE WHEN spec.bytes_column IS NOT NULL AND spec.may_refuse = 'true' THEN format(
                'IF change.bytes > 0 THEN PERFORM data.check_quota(%1$L, used.%1$I, change.bytes); END IF;',
                spec.bytes_column) ELSE '' END);
        EXECUTE format('CREATE TRIGGER usage_insert AFTER INSERT ON data.%1$I
            REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION data.count_added_%1$s()', spec.relation);
        EXECUTE format('CREATE TRIGGER usage_delete AFTER DELETE ON data.%1$I
            REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION data.count_changed_%1$s()', spec.relation);
        IF spec.relation IN ('conversations', 'analysis_jobs', 'analysis_results', 'encrypted_cycle_data',
            'healthcare_share')
        THEN
            EXECUTE format('CREATE TRIGGER usage_update AFTER UPDATE ON data.%1$I
                REFERENCING OLD TABLE AS removed NEW TABLE AS added
                FOR EACH STATEMENT EXECUTE FUNCTION data.count_changed_%1$s()', spec.relation);
        END IF;
        -- What is there already. The triggers have locked the table.
        EXECUTE format('INSERT INTO data.usage_counters AS u (user_id, %1$s)
            SELECT change.user_id, %2$s FROM (
                SELECT r.user_id, %3$s AS rows, %4$s AS bytes FROM data.%5$I AS r GROUP BY r.user_id
            ) AS change
            ON CONFLICT (user_id) DO UPDATE SET %6$s', names, given, spec.rows, spec.bytes, spec.relation,
            replace(replace(sums, 'change.rows', 'excluded.' || coalesce(spec.rows_column, '')), 'change.bytes',
                'excluded.' || coalesce(spec.bytes_column, '')));
    END LOOP;
END
$$;

-- Requests: each row is an applied mutation, so the rate limit of mutations is decided here too. A retry of an applied request
-- adds no row, and a refused one takes its row back.
--
-- What a person does to get rid of a thief is not refused: a deletion, and the suspension or the revocation of a device that was
-- not stopped before. Each undoes what another mutation did, which was limited.
CREATE FUNCTION data.count_added_requests() RETURNS trigger
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
    AS $$
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
$$;
CREATE FUNCTION data.count_changed_requests() RETURNS trigger
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    change record;
BEGIN
    FOR change IN
        SELECT r.user_id, count(*) AS rows, sum(octet_length(r.answer::text))::bigint AS bytes
        FROM removed AS r WHERE NOT r.by_service GROUP BY r.user_id ORDER BY r.user_id
    LOOP
        PERFORM FROM data.users AS p WHERE p.id = change.user_id FOR KEY SHARE SKIP LOCKED;
        IF FOUND THEN
            UPDATE data.usage_counters AS u
                SET requests = u.requests - change.rows, request_bytes = u.request_bytes - change.bytes
                WHERE u.user_id = change.user_id;
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;
CREATE TRIGGER usage_insert AFTER INSERT ON data.requests REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION data.count_added_requests();
CREATE TRIGGER usage_delete AFTER DELETE ON data.requests REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT EXECUTE FUNCTION data.count_changed_requests();
INSERT INTO data.usage_counters AS u (user_id, requests, request_bytes)
    SELECT r.user_id, count(*), sum(octet_length(r.answer::text)) FROM data.requests AS r GROUP BY r.user_id
    ON CONFLICT (user_id) DO UPDATE SET requests = excluded.requests, request_bytes = excluded.request_bytes;

CREATE TRIGGER refuse_early BEFORE INSERT ON data.conversations FOR EACH ROW
    EXECUTE FUNCTION data.refuse_early('message_bytes', 'messages', 'requests', 'request_bytes');
CREATE TRIGGER refuse_early_update BEFORE UPDATE OF message_text ON data.conversations FOR EACH ROW
    EXECUTE FUNCTION data.refuse_early();
CREATE TRIGGER refuse_early BEFORE INSERT ON data.encrypted_cycle_data FOR EACH ROW
    WHEN (NEW.encrypted_payload IS NOT NULL)
    EXECUTE FUNCTION data.refuse_early('record_bytes', 'records', 'deleted_records', 'nonces', 'requests', 'request_bytes');
CREATE TRIGGER refuse_early_update BEFORE UPDATE OF encrypted_payload ON data.encrypted_cycle_data FOR EACH ROW
    WHEN (NEW.encrypted_payload IS NOT NULL)
    EXECUTE FUNCTION data.refuse_early();
CREATE TRIGGER refuse_early BEFORE INSERT ON data.cycle_data_conflicts FOR EACH ROW
    WHEN (NEW.encrypted_payload IS NOT NULL)
    EXECUTE FUNCTION data.refuse_early('conflict_bytes', 'conflicts', 'nonces', 'requests', 'request_bytes');
CREATE TRIGGER refuse_early BEFORE INSERT ON data.healthcare_share FOR EACH ROW
    WHEN (NEW.encrypted_payload IS NOT NULL)
    EXECUTE FUNCTION data.refuse_early('share_bytes', 'shares', 'nonces', 'requests', 'request_bytes');

-- As before, but the nonces of all of the person's devices are forgotten: of a revoked one at once, because it sends no change
-- any more, and of the versions before the current one after 180 days. So many at once as one complete encryption of all
-- records leaves.
DROP POLICY envelope_nonces_user_delete ON data.envelope_nonces;
CREATE POLICY envelope_nonces_user_delete ON data.envelope_nonces FOR DELETE TO data_user
    USING (user_id = (SELECT auth.uid()) AND EXISTS (SELECT FROM data.device_key AS d
        WHERE d.user_id = envelope_nonces.user_id AND d.id = envelope_nonces.key_id
            AND (d.status = 'revoked' OR envelope_nonces.key_version < d.key_version)));
CREATE OR REPLACE FUNCTION data.rotate_device_key(
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
    DELETE FROM data.envelope_nonces AS n
        WHERE n.user_id = person AND n.ctid = ANY (ARRAY(
            SELECT o.ctid FROM data.envelope_nonces AS o JOIN data.device_key AS d ON d.user_id = o.user_id AND d.id = o.key_id
            WHERE o.user_id = person AND (d.status = 'revoked' OR o.key_version < d.key_version
                AND o.used_at < rotate_device_key.at - interval '180 days')
            LIMIT 100000));
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

ALTER TABLE data.conversations FORCE ROW LEVEL SECURITY;
ALTER TABLE data.analysis_jobs FORCE ROW LEVEL SECURITY;
ALTER TABLE data.analysis_results FORCE ROW LEVEL SECURITY;
ALTER TABLE data.crisis_events FORCE ROW LEVEL SECURITY;
ALTER TABLE data.encrypted_cycle_data FORCE ROW LEVEL SECURITY;
ALTER TABLE data.purged_records FORCE ROW LEVEL SECURITY;
ALTER TABLE data.cycle_data_conflicts FORCE ROW LEVEL SECURITY;
ALTER TABLE data.envelope_nonces FORCE ROW LEVEL SECURITY;
ALTER TABLE data.healthcare_share FORCE ROW LEVEL SECURITY;
ALTER TABLE data.requests FORCE ROW LEVEL SECURITY;
ALTER TABLE data.usage_counters FORCE ROW LEVEL SECURITY;

SET LOCAL row_security = on;
