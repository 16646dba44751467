-- oldest_binary: 20261129000600
SET LOCAL row_security = off;

-- The functions that a login calls in place of a transaction: see "Calls in one round trip" in migrations/README.md.

CREATE FUNCTION data.get_message_1(caller uuid, message uuid) RETURNS TABLE (
    id uuid, number bigint, sender_type text, message_text text, key_id text, created_at timestamptz, updated_at timestamptz,
    version bigint
)
    LANGUAGE plpgsql STABLE SECURITY INVOKER SET search_path = ''
    AS $$
#variable_conflict use_column
DECLARE
    context text;
BEGIN
    context := pg_catalog.set_config('request.jwt.claims', '{"sub":"' || caller || '"}', true);
    context := pg_catalog.set_config('role', 'data_user', true);
    RETURN QUERY
        SELECT c.id, c.number, c.sender_type, c.message_text, c.key_id, c.created_at, c.updated_at, c.version
        FROM data.conversations AS c
        WHERE c.user_id = caller AND c.id = message;
END
$$;
COMMENT ON FUNCTION data.get_message_1(uuid, uuid) IS 'GetMessage: the person''s message with an id.';
REVOKE EXECUTE ON FUNCTION data.get_message_1(uuid, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION data.get_message_1(uuid, uuid) TO data_app;

CREATE FUNCTION data.list_messages_1(caller uuid, after bigint, before bigint, newest_first boolean, most bigint) RETURNS TABLE (
    id uuid, number bigint, sender_type text, message_text text, key_id text, created_at timestamptz, updated_at timestamptz,
    version bigint
)
    LANGUAGE plpgsql STABLE SECURITY INVOKER SET search_path = ''
    AS $$
#variable_conflict use_column
DECLARE
    context text;
BEGIN
    context := pg_catalog.set_config('request.jwt.claims', '{"sub":"' || caller || '"}', true);
    context := pg_catalog.set_config('role', 'data_user', true);
    IF newest_first THEN
        RETURN QUERY
            SELECT c.id, c.number, c.sender_type, c.message_text, c.key_id, c.created_at, c.updated_at, c.version
            FROM data.conversations AS c
            WHERE c.user_id = caller AND c.number > after AND c.number < before
            ORDER BY c.number DESC
            LIMIT most;
    ELSE
        RETURN QUERY
            SELECT c.id, c.number, c.sender_type, c.message_text, c.key_id, c.created_at, c.updated_at, c.version
            FROM data.conversations AS c
            WHERE c.user_id = caller AND c.number > after AND c.number < before
            ORDER BY c.number
            LIMIT most;
    END IF;
END
$$;
COMMENT ON FUNCTION data.list_messages_1(uuid, bigint, bigint, boolean, bigint) IS
    'ListMessages: the person''s messages between two numbers, at most so many.';
REVOKE EXECUTE ON FUNCTION data.list_messages_1(uuid, bigint, bigint, boolean, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION data.list_messages_1(uuid, bigint, bigint, boolean, bigint) TO data_app;

-- Stores a message of the person. The counter's row is locked until the transaction ends, so numbers have no gaps and become
-- visible in order. Two attempts of one request wait for each other there; the second finds the request id taken, and is
-- repeated by the caller.
CREATE FUNCTION data.append_message_1(
    caller uuid, limits text, request uuid, payload_macs bytea[], message uuid, sender_type text, message_text text, key_id text,
    created_at timestamptz, finding jsonb, job uuid, messages_per_job smallint, job_priority smallint
) RETURNS TABLE (same boolean, makes_job boolean, id uuid, number bigint, stored_at timestamptz, stored_finding jsonb)
    LANGUAGE plpgsql VOLATILE SECURITY INVOKER SET search_path = ''
    AS $$
#variable_conflict use_variable
DECLARE
    context text;
    prior_answer jsonb;
    pending smallint;
    pending_since bigint;
BEGIN
    context := pg_catalog.set_config('request.jwt.claims', '{"sub":"' || caller || '"}', true);
    context := pg_catalog.set_config('data.limits', limits, true);
    context := pg_catalog.set_config('role', 'data_user', true);

    SELECT r.payload_mac = ANY (payload_macs) AND r.method = 'AppendMessage', r.answer INTO same, prior_answer
        FROM data.requests AS r WHERE r.user_id = caller AND r.id = request;
    makes_job := false;
    IF same IS NOT NULL THEN
        id := (prior_answer ->> 'message_id')::uuid;
        number := (prior_answer ->> 'number')::bigint;
        stored_at := (prior_answer ->> 'created_at')::timestamptz;
        stored_finding := prior_answer -> 'finding';
        RETURN NEXT;
        RETURN;
    END IF;

    INSERT INTO data.conversation_counters AS mine (user_id, last_number, pending_messages, pending_from)
        VALUES (caller, 1, 1, 1)
        ON CONFLICT ON CONSTRAINT conversation_counters_pkey DO UPDATE SET
            last_number = mine.last_number + 1,
            pending_messages = (mine.pending_messages + 1) % messages_per_job,
            pending_from = CASE mine.pending_messages WHEN 0 THEN mine.last_number + 1 ELSE mine.pending_from END
        RETURNING mine.last_number, mine.pending_messages, mine.pending_from INTO number, pending, pending_since;
    INSERT INTO data.conversations
            (user_id, id, number, sender_type, message_text, key_id, created_at, updated_at)
        VALUES (caller, message, number, sender_type, message_text, key_id, created_at, created_at);
    IF pending = 0 AND data.may_analyze() THEN
        INSERT INTO data.analysis_jobs
                (user_id, id, first_number, last_number, requested, priority, start_after, created_at)
            VALUES (caller, job, pending_since, number, false, job_priority, now(), created_at);
        makes_job := true;
    END IF;
    IF finding IS NOT NULL THEN
        INSERT INTO data.crisis_events
                (user_id, id, message_id, trigger_type, severity_level, resources_shown, followup_required, created_at)
            SELECT caller, f.event_id, message, f.trigger_type, f.severity_level, f.resources, f.followup_required, created_at
            FROM jsonb_to_record(finding) AS f (
                event_id uuid, trigger_type text, severity_level text, resources text[], followup_required boolean);
    END IF;
    INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
        VALUES (caller, request, 'AppendMessage', payload_macs[1],
            jsonb_strip_nulls(jsonb_build_object(
                'message_id', message, 'number', number, 'created_at', created_at, 'finding', finding)),
            created_at);
    same := true;
    id := message;
    stored_at := created_at;
    stored_finding := finding;
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION data.append_message_1(uuid, text, uuid, bytea[], uuid, text, text, text, timestamptz, jsonb, uuid, smallint, smallint)
    IS 'AppendMessage: stores a message of the person, once for a request id, or returns the first answer.';
REVOKE EXECUTE ON FUNCTION
    data.append_message_1(uuid, text, uuid, bytea[], uuid, text, text, text, timestamptz, jsonb, uuid, smallint, smallint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    data.append_message_1(uuid, text, uuid, bytea[], uuid, text, text, text, timestamptz, jsonb, uuid, smallint, smallint) TO data_app;

-- Stores a message of the coach or of the product. It creates no job and has no finding.
CREATE FUNCTION data.append_message_by_service_1(
    caller uuid, limits text, request uuid, payload_macs bytea[], message uuid, sender_type text, message_text text, key_id text,
    created_at timestamptz
) RETURNS TABLE (same boolean, makes_job boolean, id uuid, number bigint, stored_at timestamptz, stored_finding jsonb)
    LANGUAGE plpgsql VOLATILE SECURITY INVOKER SET search_path = ''
    AS $$
#variable_conflict use_variable
DECLARE
    context text;
    prior_answer jsonb;
BEGIN
    context := pg_catalog.set_config('request.jwt.claims', '{"sub":"' || caller || '"}', true);
    context := pg_catalog.set_config('data.limits', limits, true);
    context := pg_catalog.set_config('role', 'data_service', true);

    SELECT r.payload_mac = ANY (payload_macs) AND r.method = 'AppendMessage', r.answer INTO same, prior_answer
        FROM data.requests AS r WHERE r.user_id = caller AND r.id = request;
    makes_job := false;
    IF same IS NOT NULL THEN
        id := (prior_answer ->> 'message_id')::uuid;
        number := (prior_answer ->> 'number')::bigint;
        stored_at := (prior_answer ->> 'created_at')::timestamptz;
        stored_finding := prior_answer -> 'finding';
        RETURN NEXT;
        RETURN;
    END IF;

    INSERT INTO data.conversation_counters AS mine (user_id, last_number)
        VALUES (caller, 1)
        ON CONFLICT ON CONSTRAINT conversation_counters_pkey DO UPDATE SET last_number = mine.last_number + 1
        RETURNING mine.last_number INTO number;
    INSERT INTO data.conversations
            (user_id, id, number, sender_type, message_text, key_id, created_at, updated_at)
        VALUES (caller, message, number, sender_type, message_text, key_id, created_at, created_at);
    INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
        VALUES (caller, request, 'AppendMessage', payload_macs[1],
            jsonb_build_object('message_id', message, 'number', number, 'created_at', created_at), created_at);
    same := true;
    id := message;
    stored_at := created_at;
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION data.append_message_by_service_1(uuid, text, uuid, bytea[], uuid, text, text, text, timestamptz) IS
    'AppendMessage: stores a message of the coach or of the product, once for a request id, or returns the first answer.';
REVOKE EXECUTE ON FUNCTION
    data.append_message_by_service_1(uuid, text, uuid, bytea[], uuid, text, text, text, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    data.append_message_by_service_1(uuid, text, uuid, bytea[], uuid, text, text, text, timestamptz) TO data_worker;

SET LOCAL row_security = on;
