SET LOCAL row_security = off;

CREATE OR REPLACE FUNCTION identity.sweep(batch integer) RETURNS TABLE (swept text, count bigint)
    LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    -- A limit whose time has come, and failures that count no more, say what no row says.
    swept := 'rate_limits';
    DELETE FROM identity.rate_limits AS l
        WHERE l.ctid = ANY (ARRAY(SELECT o.ctid FROM identity.rate_limits AS o
            WHERE o.tat < now() - interval '1 minute' LIMIT sweep.batch FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS count = ROW_COUNT;
    RETURN NEXT;
    swept := 'failures';
    DELETE FROM identity.failures AS f
        WHERE f.ctid = ANY (ARRAY(SELECT o.ctid FROM identity.failures AS o
            WHERE o.not_before < now() - interval '1 day' LIMIT sweep.batch FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS count = ROW_COUNT;
    RETURN NEXT;
    swept := 'ended_sessions';
    DELETE FROM identity.ended_sessions AS s
        WHERE s.id = ANY (ARRAY(SELECT o.id FROM identity.ended_sessions AS o
            WHERE o.expires_at < now() - interval '10 minutes' LIMIT sweep.batch));
    GET DIAGNOSTICS count = ROW_COUNT;
    RETURN NEXT;
    swept := 'refresh_tokens';
    DELETE FROM identity.refresh_tokens AS t
        WHERE (t.user_id, t.id) IN (SELECT o.user_id, o.id FROM identity.refresh_tokens AS o
            WHERE o.expires_at < now() - interval '1 day' LIMIT sweep.batch);
    GET DIAGNOSTICS count = ROW_COUNT;
    RETURN NEXT;
    -- A session that is dead for a month was begun more than a month ago.
    swept := 'sessions';
    DELETE FROM identity.sessions AS s
        WHERE (s.user_id, s.id) IN (SELECT o.user_id, o.id FROM identity.sessions AS o
            WHERE o.issued_at < now() - interval '30 days'
                AND least(o.ended_at, o.refresh_expires_at) < now() - interval '30 days' LIMIT sweep.batch);
    GET DIAGNOSTICS count = ROW_COUNT;
    RETURN NEXT;
    swept := 'requests';
    DELETE FROM identity.requests AS r
        WHERE (r.user_id, r.id) IN (SELECT o.user_id, o.id FROM identity.requests AS o
            WHERE o.created_at < now() - interval '7 days' LIMIT sweep.batch);
    GET DIAGNOSTICS count = ROW_COUNT;
    RETURN NEXT;
END
$$;

CREATE OR REPLACE FUNCTION identity.sweep_device_tokens(batch integer) RETURNS bigint
    LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    swept bigint;
BEGIN
    DELETE FROM identity.device_tokens AS d
        WHERE (d.user_id, d.id) IN (SELECT o.user_id, o.id FROM identity.device_tokens AS o
            WHERE o.expires_at < now() - interval '1 day' LIMIT sweep_device_tokens.batch);
    GET DIAGNOSTICS swept = ROW_COUNT;
    RETURN swept;
END
$$;

CREATE OR REPLACE FUNCTION identity.sweep_recovery_tokens(batch integer) RETURNS bigint
    LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    swept bigint;
BEGIN
    DELETE FROM identity.recovery_tokens AS t
        WHERE (t.user_id, t.id) IN (SELECT o.user_id, o.id FROM identity.recovery_tokens AS o
            WHERE o.expires_at < now() - interval '1 minute'
                AND (o.spent_at IS NULL OR o.expires_at < now() - interval '7 days')
            LIMIT sweep_recovery_tokens.batch);
    GET DIAGNOSTICS swept = ROW_COUNT;
    RETURN swept;
END
$$;

CREATE OR REPLACE FUNCTION identity.trim_audit_log(retention interval, people integer) RETURNS bigint
    LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    before CONSTANT timestamptz := now() - greatest(trim_audit_log.retention, interval '1 day');
    person uuid;
    cut bigint;
    deleted bigint;
    total bigint := 0;
BEGIN
    PERFORM set_config('identity.trimming', 'on', true);
    FOR person IN
        SELECT DISTINCT l.user_id FROM identity.security_audit_log AS l
        WHERE l.occurred_at < before LIMIT trim_audit_log.people
    LOOP
        PERFORM FROM identity.audit_chains AS c WHERE c.user_id = person FOR UPDATE;
        -- Up to the first event that stays, by its place: two clocks may have put times out of order.
        SELECT coalesce(
            min(l.number) FILTER (WHERE l.occurred_at >= before) - 1, max(l.number)
        ) INTO cut FROM identity.security_audit_log AS l WHERE l.user_id = person;
        UPDATE identity.audit_chains AS c SET trimmed_number = l.number, trimmed_digest = l.digest
            FROM identity.security_audit_log AS l
            WHERE c.user_id = person AND l.user_id = person AND l.number = cut;
        DELETE FROM identity.security_audit_log AS l WHERE l.user_id = person AND l.number <= cut;
        GET DIAGNOSTICS deleted = ROW_COUNT;
        total := total + deleted;
    END LOOP;
    PERFORM set_config('identity.trimming', '', true);
    RETURN total;
END
$$;

DROP INDEX identity.ended_sessions_expires_at_idx;
DROP INDEX identity.ended_sessions_added_by_idx;
ALTER TABLE identity.ended_sessions DROP COLUMN added_by;

SET LOCAL row_security = on;
