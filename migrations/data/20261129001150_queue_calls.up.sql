-- oldest_binary: 20261129000600
SET LOCAL row_security = off;

-- The functions that the login calls for workers: see "Calls in one round trip" in migrations/README.md.

-- As before, in a language whose functions the session keeps compiled. One in SQL that has a SET clause is not inlined, and is planned
-- again for each statement with a policy that calls it.
CREATE OR REPLACE FUNCTION data.current_lease() RETURNS uuid
    LANGUAGE plpgsql STABLE SECURITY INVOKER SET search_path = ''
    AS $$
BEGIN
    RETURN nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'lease';
END
$$;
CREATE OR REPLACE FUNCTION data.current_lease_digest() RETURNS bytea
    LANGUAGE plpgsql STABLE SECURITY INVOKER SET search_path = ''
    AS $$
BEGIN
    RETURN sha256(uuid_send(data.current_lease()));
END
$$;

-- Returns the jobs that one of `tokens` holds. When they hold none, leases the due jobs of the highest priority under `token`.
-- Jobs with expired leases are put back first. Calls with the same tokens are one request and its retries: each waits for the
-- one before it, and then sees the jobs that are leased already.
--
-- A row for each message that is sent, for each job without one, and one without a job when there is none. Each has the numbers of
-- jobs with expired leases and of newly leased jobs.
CREATE FUNCTION data.lease_jobs_1(
    token uuid, tokens uuid[], max_jobs integer, holder text, seconds double precision, priorities smallint[],
    failed_delays double precision[], lost_delays double precision[], max_bytes bigint, max_others bigint
) RETURNS TABLE (
    failed bigint, lost bigint, dead_of_failures bigint, dead_of_losses bigint, taken bigint,
    lease uuid, person uuid, job uuid, first_number bigint, last_number bigint, attempt smallint, expires_at timestamptz,
    messages bigint, id uuid, number bigint, sender_type text, message_text text, key_id text, created_at timestamptz,
    updated_at timestamptz, version bigint
)
    LANGUAGE plpgsql VOLATILE SECURITY INVOKER SET search_path = ''
    AS $$
#variable_conflict use_column
DECLARE
    context text;
    one_token uuid;
    held bytea;
BEGIN
    -- The claim of a lease, for which Row Level Security shows the messages of its jobs, and no others.
    context := pg_catalog.set_config('request.jwt.claims', '{"lease":"' || lease_jobs_1.token || '"}', true);
    context := pg_catalog.set_config('role', 'data_service', true);
    FOREACH one_token IN ARRAY lease_jobs_1.tokens LOOP
        -- Hashed, because the keys of advisory locks are visible in pg_locks.
        context := pg_catalog.pg_advisory_xact_lock(hashtextextended(one_token::text, 0));
    END LOOP;

    -- MATERIALIZED, here and wherever jobs are taken: a CTE that is inlined into the join may run its LIMIT several times, and
    -- take more jobs. A job without a delay is dead: an element beyond the end of an array is NULL. A lost lease raises
    -- retry_limit with the attempts, also the last one, so that a job with attempts left died of lost leases.
    WITH ended AS MATERIALIZED (
        SELECT j.user_id, j.id, j.extended_attempt IS DISTINCT FROM j.attempts AS is_lost,
            CASE WHEN j.extended_attempt IS DISTINCT FROM j.attempts THEN lease_jobs_1.lost_delays[j.lost_leases + 1]
                WHEN j.attempts < j.retry_limit THEN lease_jobs_1.failed_delays[
                    least(j.retry_limit - j.attempts, cardinality(lease_jobs_1.failed_delays))]
            END AS delay
        FROM data.analysis_jobs AS j
        WHERE j.state = 'leased' AND j.lease_expires_at <= now()
        ORDER BY j.lease_expires_at
        LIMIT 100
        FOR NO KEY UPDATE SKIP LOCKED
    ), expired AS (
        UPDATE data.analysis_jobs AS j
        SET state = CASE WHEN delay IS NULL THEN 'dead' ELSE 'queued' END,
            start_after = coalesce(now() + make_interval(secs => delay * (0.5 + random())), start_after),
            finished_at = CASE WHEN delay IS NULL THEN now() END,
            lost_leases = lost_leases + is_lost::integer, retry_limit = retry_limit + is_lost::integer,
            lease_token = NULL, lease_holder = NULL, lease_expires_at = NULL, last_error = 'LEASE_EXPIRED'
        FROM ended WHERE j.user_id = ended.user_id AND j.id = ended.id
        RETURNING state, is_lost
    )
    SELECT count(*) FILTER (WHERE state = 'queued' AND NOT is_lost), count(*) FILTER (WHERE state = 'queued' AND is_lost),
        count(*) FILTER (WHERE state = 'dead' AND NOT is_lost), count(*) FILTER (WHERE state = 'dead' AND is_lost)
    INTO failed, lost, dead_of_failures, dead_of_losses
    FROM expired;

    taken := 0;
    SELECT j.lease_digest INTO held
    FROM data.analysis_jobs AS j
    WHERE j.state = 'leased' AND j.lease_expires_at > now()
        AND j.lease_digest = ANY (ARRAY(SELECT sha256(uuid_send(t)) FROM unnest(lease_jobs_1.tokens) AS t))
    LIMIT 1;
    IF held IS NULL THEN
        lease := lease_jobs_1.token;
        WITH due AS MATERIALIZED (
            SELECT job.user_id, job.id
            FROM unnest(lease_jobs_1.priorities) AS one (priority), LATERAL (
                SELECT j.user_id, j.id FROM data.analysis_jobs AS j
                WHERE j.state = 'queued' AND j.priority = one.priority AND j.start_after <= now()
                ORDER BY j.start_after
                LIMIT lease_jobs_1.max_jobs
                FOR NO KEY UPDATE SKIP LOCKED
            ) AS job
            LIMIT lease_jobs_1.max_jobs
        )
        UPDATE data.analysis_jobs AS j
        SET state = 'leased', attempts = attempts + 1, lease_token = lease_jobs_1.token, lease_holder = lease_jobs_1.holder,
            lease_expires_at = now() + make_interval(secs => lease_jobs_1.seconds)
        FROM due WHERE j.user_id = due.user_id AND j.id = due.id;
        GET DIAGNOSTICS taken = ROW_COUNT;
        IF taken = 0 THEN
            RETURN NEXT;
            RETURN;
        END IF;
    ELSE
        FOREACH one_token IN ARRAY lease_jobs_1.tokens LOOP
            IF sha256(uuid_send(one_token)) = held THEN
                lease := one_token;
            END IF;
        END LOOP;
        context := pg_catalog.set_config('request.jwt.claims', '{"lease":"' || lease || '"}', true);
    END IF;

    held := sha256(uuid_send(lease));
    RETURN QUERY
    SELECT lease_jobs_1.failed, lease_jobs_1.lost, lease_jobs_1.dead_of_failures, lease_jobs_1.dead_of_losses,
        lease_jobs_1.taken, lease_jobs_1.lease, measured.user_id, measured.job_id, measured.first_number, measured.last_number,
        measured.attempts, measured.lease_expires_at, measured.messages, measured.id, measured.number, measured.sender_type,
        measured.message_text, measured.key_id, measured.created_at, measured.updated_at, measured.version
    FROM (
        SELECT j.user_id, j.id AS job_id, j.first_number, j.last_number, j.attempts, j.lease_expires_at, j.priority,
            j.start_after, counted.messages, c.id, c.number, c.sender_type, c.message_text, c.key_id, c.created_at,
            c.updated_at, c.version,
            sum(octet_length(c.message_text)) OVER (
                PARTITION BY j.user_id, j.id ORDER BY c.sender_type = 'user' DESC, c.number DESC) AS bytes
        FROM data.analysis_jobs AS j
        CROSS JOIN LATERAL (
            SELECT count(*) AS messages FROM data.conversations AS c
            WHERE c.user_id = j.user_id AND c.number BETWEEN j.first_number AND j.last_number
        ) AS counted
        LEFT JOIN LATERAL (
            SELECT c.id, c.number, c.sender_type, c.message_text, c.key_id, c.created_at, c.updated_at, c.version
            FROM data.conversations AS c
            WHERE c.user_id = j.user_id AND c.number BETWEEN j.first_number AND j.last_number AND c.sender_type = 'user'
            UNION ALL
            (SELECT c.id, c.number, c.sender_type, c.message_text, c.key_id, c.created_at, c.updated_at, c.version
            FROM data.conversations AS c
            WHERE c.user_id = j.user_id AND c.number BETWEEN j.first_number AND j.last_number AND c.sender_type <> 'user'
            ORDER BY c.number DESC
            LIMIT lease_jobs_1.max_others)
        ) AS c ON true
        WHERE j.state = 'leased' AND j.lease_digest = held AND j.lease_expires_at > now()
    ) AS measured
    WHERE measured.id IS NULL OR measured.sender_type = 'user' OR measured.bytes <= lease_jobs_1.max_bytes
    ORDER BY measured.priority DESC, measured.start_after, measured.user_id, measured.job_id, measured.number;
END
$$;
COMMENT ON FUNCTION data.lease_jobs_1(
    uuid, uuid[], integer, text, double precision, smallint[], double precision[], double precision[], bigint, bigint
) IS 'Leases due jobs, and returns them with the messages that their lease shows.';
REVOKE EXECUTE ON FUNCTION data.lease_jobs_1(
    uuid, uuid[], integer, text, double precision, smallint[], double precision[], double precision[], bigint, bigint
) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION data.lease_jobs_1(
    uuid, uuid[], integer, text, double precision, smallint[], double precision[], double precision[], bigint, bigint
) TO data_worker;

-- As before, without "state = 'leased'", which a lease implies by a constraint. With it the planner chose the index of leased jobs,
-- which it takes to be empty, and read each entry that completed jobs had left there.
ALTER POLICY analysis_results_service_insert ON data.analysis_results
    WITH CHECK (user_id = (SELECT auth.uid()) AND EXISTS (
        SELECT FROM data.analysis_jobs AS job
        WHERE job.user_id = analysis_results.user_id AND job.id = analysis_results.id
            AND job.first_number = analysis_results.first_number AND job.last_number = analysis_results.last_number
            AND job.lease_expires_at > now()));

-- Stores analyses and ends their jobs, each by itself, as its person: one that cannot be stored does not affect the others. The
-- elements are the completions, ordered by person and job, so that two calls lock people in one order. `macs` has the keyed hashes
-- of all of them, as many for each. The outcome of each is `completed`; `repeated`, when its request was committed before, with the
-- time of that commit; `reused`, when the request id belongs to another request; `lost`; or `busy`, when another call
-- held its rows for too long: it is not stored then, and a retry may store it.
--
-- The person is locked first, as a foreign key locks them, and the job second. An erasure locks them in the same order, so the two
-- cannot deadlock.
CREATE FUNCTION data.complete_jobs_1(
    people uuid[], jobs uuid[], digests bytea[], attempt_numbers smallint[], request_ids uuid[], macs bytea[],
    analysis_types text[], chat_scores smallint[], sealed_details text[], key_ids text[], milestones text[], at timestamptz
) RETURNS TABLE (item integer, outcome text, created_at timestamptz)
    LANGUAGE plpgsql VOLATILE SECURITY INVOKER SET search_path = ''
    AS $$
#variable_conflict use_column
DECLARE
    context text;
    width CONSTANT integer := cardinality(macs) / nullif(cardinality(people), 0);
    person uuid;
    prior record;
BEGIN
    context := pg_catalog.set_config('request.jwt.claims', '{}', true);
    context := pg_catalog.set_config('role', 'data_service', true);
    FOR n IN 1 .. cardinality(people) LOOP
        person := people[n];
        context := pg_catalog.set_config('request.jwt.claims', '{"sub":"' || person || '"}', true);
        item := n;
        outcome := 'lost';
        created_at := NULL;
        BEGIN
            SELECT r.method, r.payload_mac, r.answer INTO prior
            FROM data.users AS u LEFT JOIN data.requests AS r ON r.user_id = u.id AND r.id = complete_jobs_1.request_ids[n]
            WHERE u.id = person FOR KEY SHARE OF u;
            IF prior.method IS NULL THEN
                WITH job AS (
                    UPDATE data.analysis_jobs AS j
                    SET state = 'done', lease_token = NULL, lease_holder = NULL, lease_expires_at = NULL, last_error = NULL,
                        finished_at = now()
                    WHERE j.user_id = person AND j.id = complete_jobs_1.jobs[n] AND j.lease_digest = complete_jobs_1.digests[n]
                        AND j.attempts = complete_jobs_1.attempt_numbers[n]
                        AND j.state = 'leased' AND j.lease_expires_at > now()
                    RETURNING j.user_id, j.id, j.first_number, j.last_number
                ), request AS (
                    INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
                    SELECT user_id, complete_jobs_1.request_ids[n], 'CompleteJob', complete_jobs_1.macs[(n - 1) * width + 1],
                        jsonb_build_object('created_at', complete_jobs_1.at), complete_jobs_1.at
                    FROM job
                ), result AS (
                    INSERT INTO data.analysis_results (user_id, id, analysis_type, chat_score, first_number, last_number,
                        details, key_id, triggered_milestone, created_at)
                    SELECT user_id, id, complete_jobs_1.analysis_types[n], complete_jobs_1.chat_scores[n], first_number,
                        last_number, complete_jobs_1.sealed_details[n], complete_jobs_1.key_ids[n],
                        complete_jobs_1.milestones[n], complete_jobs_1.at
                    FROM job
                )
                SELECT complete_jobs_1.at INTO created_at FROM job;
                IF FOUND THEN
                    outcome := 'completed';
                ELSE
                    -- The statement may have waited for the first try of this request, which its snapshot does not show.
                    SELECT r.method, r.payload_mac, r.answer INTO prior
                    FROM data.requests AS r WHERE r.user_id = person AND r.id = complete_jobs_1.request_ids[n];
                END IF;
            END IF;
            IF prior.method = 'CompleteJob' AND prior.payload_mac = ANY (macs[(n - 1) * width + 1 : n * width]) THEN
                outcome := 'repeated';
                created_at := (prior.answer ->> 'created_at')::timestamptz;
            ELSIF prior.method IS NOT NULL THEN
                outcome := 'reused';
            END IF;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            -- The variables keep what they had, and the settings are those from before the block. One by itself fails, and its call
            -- has the reason.
            IF cardinality(people) = 1 THEN
                RAISE;
            END IF;
            outcome := 'busy';
            created_at := NULL;
        END;
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION data.complete_jobs_1(
    uuid[], uuid[], bytea[], smallint[], uuid[], bytea[], text[], smallint[], text[], text[], text[], timestamptz
) IS 'Stores analyses and ends their jobs, each by itself.';
REVOKE EXECUTE ON FUNCTION data.complete_jobs_1(
    uuid[], uuid[], bytea[], smallint[], uuid[], bytea[], text[], smallint[], text[], text[], text[], timestamptz
) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION data.complete_jobs_1(
    uuid[], uuid[], bytea[], smallint[], uuid[], bytea[], text[], smallint[], text[], text[], text[], timestamptz
) TO data_worker;

SET LOCAL row_security = on;
