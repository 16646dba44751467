SET LOCAL row_security = off;

-- How many of a person's messages no analysis covers yet: counts are kept, never counted. pending_from is the number
-- of the first of them; it stays when they are covered, so that the appending statement can still read it.
ALTER TABLE data.conversation_counters
    ADD COLUMN pending_messages smallint NOT NULL DEFAULT 0,
    ADD COLUMN pending_from bigint,
    ADD CONSTRAINT conversation_counters_pending_messages_check CHECK (pending_messages BETWEEN 0 AND 24),
    ADD CONSTRAINT conversation_counters_pending_from_check
        CHECK (pending_messages = 0 OR (pending_from IS NOT NULL AND pending_from BETWEEN 1 AND last_number));
GRANT UPDATE (pending_messages, pending_from) ON data.conversation_counters TO data_user;

-- What is to be analysed, and how far that is. The range of messages is two numbers instead of one int8range, whose
-- operators are not leakproof: a policy compares with them. state and lease are the workers' doing, and go by this
-- server's clock: a worker whose clock runs fast must not take another one's job.
CREATE TABLE data.analysis_jobs (
    user_id uuid NOT NULL,
    id uuid NOT NULL,
    first_number bigint NOT NULL,
    last_number bigint NOT NULL,
    requested boolean NOT NULL,
    priority smallint NOT NULL,
    attempts smallint NOT NULL DEFAULT 0,
    retry_limit smallint NOT NULL DEFAULT 3,
    state text NOT NULL DEFAULT 'queued',
    start_after timestamptz NOT NULL,
    lease_token uuid,
    lease_holder text,
    lease_expires_at timestamptz,
    last_error text,
    created_at timestamptz NOT NULL,
    finished_at timestamptz,
    CONSTRAINT analysis_jobs_pkey PRIMARY KEY (user_id, id),
    -- A message ends one range at most.
    CONSTRAINT analysis_jobs_last_number_key UNIQUE (user_id, last_number),
    CONSTRAINT analysis_jobs_user_id_fkey FOREIGN KEY (user_id) REFERENCES data.users (id) ON DELETE CASCADE,
    CONSTRAINT analysis_jobs_range_check CHECK (first_number BETWEEN 1 AND last_number),
    CONSTRAINT analysis_jobs_state_check CHECK (state IN ('queued', 'leased', 'done', 'dead')),
    CONSTRAINT analysis_jobs_priority_check CHECK (priority IN (0, 1)),
    CONSTRAINT analysis_jobs_attempts_check CHECK (attempts BETWEEN 0 AND retry_limit),
    CONSTRAINT analysis_jobs_lease_check CHECK (
        num_nonnulls(lease_token, lease_holder, lease_expires_at) = CASE state WHEN 'leased' THEN 3 ELSE 0 END),
    CONSTRAINT analysis_jobs_finished_at_check CHECK ((finished_at IS NOT NULL) = (state IN ('done', 'dead'))),
    CONSTRAINT analysis_jobs_lease_holder_check CHECK (octet_length(lease_holder) BETWEEN 1 AND 255),
    -- A name out of a program, and never what somebody wrote.
    CONSTRAINT analysis_jobs_last_error_check CHECK (last_error ~ '^[A-Z][A-Z0-9_]{0,62}$')
) WITH (
    -- A queue's rows change often and are few: room for updates beside them, and statistics before the planner
    -- believes that there is nothing.
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 200,
    autovacuum_analyze_scale_factor = 0.02, autovacuum_analyze_threshold = 100
);
COMMENT ON TABLE data.analysis_jobs IS 'Ranges of messages that are to be analysed, with the leases of their workers.';

-- One that somebody asked for, at most, is open at a time.
CREATE UNIQUE INDEX analysis_jobs_requested_key ON data.analysis_jobs (user_id)
    WHERE requested AND state IN ('queued', 'leased');
-- What workers take, in the order in which they take it; what they hold; and what is given up.
CREATE INDEX analysis_jobs_due_idx ON data.analysis_jobs (priority DESC, start_after) WHERE state = 'queued';
CREATE INDEX analysis_jobs_lease_token_idx ON data.analysis_jobs (lease_token) WHERE state = 'leased';
CREATE INDEX analysis_jobs_lease_expires_at_idx ON data.analysis_jobs (lease_expires_at) WHERE state = 'leased';
CREATE INDEX analysis_jobs_dead_idx ON data.analysis_jobs (finished_at, user_id, id) WHERE state = 'dead';

-- Every 25 messages that were there before the counter make a job, and the rest is counted.
ALTER TABLE data.conversations NO FORCE ROW LEVEL SECURITY;
ALTER TABLE data.conversation_counters NO FORCE ROW LEVEL SECURITY;
WITH batches AS (
    SELECT user_id, min(number) AS first_number, max(number) AS last_number, count(*) AS messages
    FROM (
        SELECT user_id, number, (row_number() OVER (PARTITION BY user_id ORDER BY number) - 1) / 25 AS batch
        FROM data.conversations WHERE sender_type = 'user'
    ) AS numbered
    GROUP BY user_id, batch
), jobs AS (
    INSERT INTO data.analysis_jobs
        (user_id, id, first_number, last_number, requested, priority, start_after, created_at)
    SELECT user_id, gen_random_uuid(), first_number, last_number, false, 0, now(), now()
    FROM batches WHERE messages = 25
)
UPDATE data.conversation_counters AS c SET pending_messages = b.messages, pending_from = b.first_number
    FROM batches AS b WHERE b.user_id = c.user_id AND b.messages < 25;
ALTER TABLE data.conversations FORCE ROW LEVEL SECURITY;
ALTER TABLE data.conversation_counters FORCE ROW LEVEL SECURITY;

ALTER TABLE data.analysis_jobs ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

-- A person makes jobs, by what they write and by asking, and sees how far theirs are. They say nothing of leases, and
-- nobody's job comes before the others' but by being asked for.
GRANT SELECT (user_id, id, first_number, last_number, requested, state, created_at, finished_at), INSERT
    ON data.analysis_jobs TO data_user;
CREATE POLICY analysis_jobs_user_select ON data.analysis_jobs FOR SELECT TO data_user
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY analysis_jobs_user_insert ON data.analysis_jobs FOR INSERT TO data_user
    WITH CHECK (user_id = (SELECT auth.uid()) AND state = 'queued' AND attempts = 0 AND retry_limit = 3
        AND priority = requested::int AND start_after BETWEEN now() - interval '1 hour' AND now());
-- A queue is worked off across all people. There is nothing in it that anybody wrote. What is done is done: its messages
-- are never leased again.
GRANT SELECT, UPDATE (requested, attempts, retry_limit, state, start_after, lease_token, lease_holder, lease_expires_at,
    last_error, finished_at) ON data.analysis_jobs TO data_service;
CREATE POLICY analysis_jobs_service_select ON data.analysis_jobs FOR SELECT TO data_service USING (true);
CREATE POLICY analysis_jobs_service_update ON data.analysis_jobs FOR UPDATE TO data_service
    USING (state <> 'done') WITH CHECK (true);
CREATE POLICY analysis_jobs_erase ON data.analysis_jobs FOR SELECT TO data_owner USING (user_id = (SELECT auth.uid()));

GRANT SELECT (user_id, id, requested, state, priority, attempts, retry_limit, start_after, lease_holder, lease_expires_at,
    last_error, created_at, finished_at) ON data.analysis_jobs TO haven_readonly;
CREATE POLICY analysis_jobs_readonly_select ON data.analysis_jobs FOR SELECT TO haven_readonly USING (true);
CREATE VIEW data.analysis_job_metadata WITH (security_invoker = true) AS
    SELECT user_id, id, requested, state, priority, attempts, retry_limit, start_after, lease_holder, lease_expires_at,
        last_error, created_at, finished_at
    FROM data.analysis_jobs;
GRANT SELECT ON data.analysis_job_metadata TO haven_readonly;

-- The lease that the transaction carries, beside or instead of a person.
CREATE FUNCTION data.current_lease() RETURNS uuid
    LANGUAGE sql STABLE SECURITY INVOKER SET search_path = ''
    RETURN (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'lease')::uuid;
COMMENT ON FUNCTION data.current_lease() IS 'The token of the lease that the transaction carries, or NULL.';
GRANT EXECUTE ON FUNCTION data.current_lease() TO data_service;

-- A worker reads the messages of exactly the range that it holds a live lease on.
GRANT SELECT (user_id, id, number, sender_type, message_text, key_id, created_at, updated_at, version)
    ON data.conversations TO data_service;
CREATE POLICY conversations_service_select ON data.conversations FOR SELECT TO data_service
    USING (EXISTS (
        SELECT FROM data.analysis_jobs AS job
        WHERE job.user_id = conversations.user_id
            AND conversations.number BETWEEN job.first_number AND job.last_number
            AND job.state = 'leased'
            AND job.lease_token = (SELECT data.current_lease())
            AND job.lease_expires_at > now()));

-- What came of them: one result for each job that was done, under the job's id. chat_score is in tenths: 0 to 140 for
-- 0.0 to 14.0. created_at is the result's timestamp.
CREATE TABLE data.analysis_results (
    user_id uuid NOT NULL,
    id uuid NOT NULL,
    analysis_type text NOT NULL,
    chat_score smallint NOT NULL,
    first_number bigint NOT NULL,
    last_number bigint NOT NULL,
    details text NOT NULL,
    key_id text NOT NULL,
    triggered_milestone text,
    created_at timestamptz NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    CONSTRAINT analysis_results_pkey PRIMARY KEY (user_id, id),
    -- Also the order in which they are listed.
    CONSTRAINT analysis_results_last_number_key UNIQUE (user_id, last_number),
    CONSTRAINT analysis_results_user_id_fkey FOREIGN KEY (user_id) REFERENCES data.users (id) ON DELETE CASCADE,
    CONSTRAINT analysis_results_id_fkey
        FOREIGN KEY (user_id, id) REFERENCES data.analysis_jobs (user_id, id) ON DELETE CASCADE,
    CONSTRAINT analysis_results_analysis_type_check CHECK (
        analysis_type IN ('chat_scoring', 'milestone_check', 'graduation_assessment', 'crisis_review')),
    CONSTRAINT analysis_results_chat_score_check CHECK (chat_score BETWEEN 0 AND 140),
    CONSTRAINT analysis_results_range_check CHECK (first_number BETWEEN 1 AND last_number),
    CONSTRAINT analysis_results_details_check CHECK (details LIKE 'gAAAA%'),
    CONSTRAINT analysis_results_key_id_check CHECK (octet_length(key_id) BETWEEN 1 AND 64),
    CONSTRAINT analysis_results_triggered_milestone_check CHECK (triggered_milestone ~ '^[a-z][a-z0-9_]{0,62}$'),
    CONSTRAINT analysis_results_version_check CHECK (version >= 1)
);
COMMENT ON TABLE data.analysis_results IS 'What analyses found in each person''s messages, sealed.';

ALTER TABLE data.analysis_results ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

-- The service adds what came of a job that a worker holds, over just its range, in the statement that ends the job; and
-- never reads one. Its person reads and deletes them; what is updated is the seal, when its key is changed.
GRANT INSERT ON data.analysis_results TO data_service;
CREATE POLICY analysis_results_service_insert ON data.analysis_results FOR INSERT TO data_service
    WITH CHECK (user_id = (SELECT auth.uid()) AND EXISTS (
        SELECT FROM data.analysis_jobs AS job
        WHERE job.user_id = analysis_results.user_id AND job.id = analysis_results.id
            AND job.first_number = analysis_results.first_number AND job.last_number = analysis_results.last_number
            AND job.state = 'leased' AND job.lease_expires_at > now()));
GRANT SELECT, UPDATE (details, key_id), DELETE ON data.analysis_results TO data_user;
CREATE POLICY analysis_results_user_select ON data.analysis_results FOR SELECT TO data_user
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY analysis_results_user_update ON data.analysis_results FOR UPDATE TO data_user
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY analysis_results_user_delete ON data.analysis_results FOR DELETE TO data_user
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY analysis_results_erase ON data.analysis_results FOR SELECT TO data_owner
    USING (user_id = (SELECT auth.uid()));

SET LOCAL row_security = on;
