-- oldest_binary: 20261129000100
SET LOCAL row_security = off;

-- What each person uses. The triggers below keep the counters, so each path counts: calls, psql, sweeps, purges and erasures.
-- No role can write them. The numbers are never computed with count(*) by a call.
--
-- mutations_until is the theoretical arrival time of the rate limit on mutations (GCRA).
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
            -- else refuses them. Results of analyses are never refused: they follow the jobs.
            ('conversations', 'messages', 'message_bytes', 'count(*)', 'sum(octet_length(r.message_text))', 'true', ''),
            ('analysis_jobs', 'analysis_jobs', NULL, 'count(*)', '0', 'true',
                'PERFORM data.check_quota(''analysis_bytes'', used.analysis_bytes + 1, 1);'),
            ('analysis_results', NULL, 'analysis_bytes', '0', 'sum(octet_length(r.details))', 'false', ''),
            ('crisis_events', 'crisis_events', NULL, 'count(*)', '0', 'true', ''),
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
        IF spec.relation IN ('conversations', 'analysis_results', 'encrypted_cycle_data', 'healthcare_share') THEN
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
-- adds no row, and a refused one takes its row back. data.limits has mutation_emission and mutation_tolerance in microseconds,
-- and mutations, how many are admitted at once. Fails with UR001; the detail is the wait in milliseconds and that number.
--
-- A deletion is never refused for a quota. To suspend or revoke a device can be repeated, so twice as many are allowed.
CREATE FUNCTION data.count_added_requests() RETURNS trigger
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    limits CONSTANT jsonb := nullif(current_setting('data.limits', true), '')::jsonb;
    emission CONSTANT interval := make_interval(secs => (limits ->> 'mutation_emission')::double precision / 1000000);
    tolerance CONSTANT interval := make_interval(secs => (limits ->> 'mutation_tolerance')::double precision / 1000000);
    moment CONSTANT timestamptz := clock_timestamp();
    change record;
    used data.usage_counters;
BEGIN
    FOR change IN
        SELECT r.user_id, count(*) AS rows, sum(octet_length(r.answer::text))::bigint AS bytes,
            bool_or(r.method NOT LIKE 'Delete%') AS may_refuse,
            bool_and(r.method IN ('SuspendDevice', 'RevokeDevice')) AS stops_device
        FROM added AS r GROUP BY r.user_id ORDER BY r.user_id
    LOOP
        INSERT INTO data.usage_counters AS u (user_id, requests, request_bytes, mutations_until)
            VALUES (change.user_id, change.rows, change.bytes, moment + emission)
            ON CONFLICT (user_id) DO UPDATE SET requests = u.requests + excluded.requests,
                request_bytes = u.request_bytes + excluded.request_bytes,
                -- A stricter limit that was in force before delays no longer than this one.
                mutations_until = CASE WHEN emission IS NULL THEN u.mutations_until
                    ELSE least(greatest(u.mutations_until, moment), moment + tolerance + emission) + emission END
            RETURNING u.* INTO used;
        IF emission IS NOT NULL AND used.mutations_until > moment + tolerance + emission THEN
            RAISE EXCEPTION USING ERRCODE = 'UR001', MESSAGE = 'too many mutations', CONSTRAINT = 'mutations',
                DETAIL = format('%s/%s', ceil(extract(epoch FROM
                    used.mutations_until - emission - tolerance - moment) * 1000), limits ->> 'mutations');
        END IF;
        IF change.may_refuse AND NOT change.stops_device THEN
            PERFORM data.check_quota('requests', used.requests, change.rows);
            PERFORM data.check_quota('request_bytes', used.request_bytes, change.bytes);
        ELSIF change.stops_device THEN
            PERFORM data.check_quota('requests', used.requests / 2, change.rows);
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
        FROM removed AS r GROUP BY r.user_id ORDER BY r.user_id
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
