-- oldest_binary: 20261129000400
SET LOCAL row_security = off;

-- The transaction that ended the session. A replica reads what was added since it read last: each row that its last snapshot
-- did not show has a transaction that is not older than the oldest one that was running then.
-- The default is not volatile, so the table is not rewritten: present rows get the transaction of this migration.
ALTER TABLE identity.ended_sessions ADD COLUMN added_by xid8 NOT NULL DEFAULT pg_current_xact_id();
COMMENT ON COLUMN identity.ended_sessions.added_by IS 'The transaction that added the row.';

-- The table has the sessions that ended within about half an hour, so its indexes are built in milliseconds.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX ended_sessions_added_by_idx ON identity.ended_sessions (added_by);
-- As above: a table of half an hour.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX ended_sessions_expires_at_idx ON identity.ended_sessions (expires_at);

-- As before, and each statement finds its rows by an index, whatever the statistics say: in the order of the index, and by the
-- places of the rows. A plan that is kept does not know the size of the batch, and would read the table to join it.
CREATE OR REPLACE FUNCTION identity.sweep(batch integer) RETURNS TABLE (swept text, count bigint)
    LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    swept := 'rate_limits';
    DELETE FROM identity.rate_limits AS l
        WHERE l.ctid = ANY (ARRAY(SELECT o.ctid FROM identity.rate_limits AS o
            WHERE o.tat < now() - interval '1 minute' ORDER BY o.tat LIMIT sweep.batch FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS count = ROW_COUNT;
    RETURN NEXT;
    swept := 'failures';
    DELETE FROM identity.failures AS f
        WHERE f.ctid = ANY (ARRAY(SELECT o.ctid FROM identity.failures AS o
            WHERE o.not_before < now() - interval '1 day' ORDER BY o.not_before LIMIT sweep.batch FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS count = ROW_COUNT;
    RETURN NEXT;
    -- The condition is repeated below, because a row may change between its choice and its deletion.
    swept := 'ended_sessions';
    DELETE FROM identity.ended_sessions AS s
        WHERE s.expires_at < now() - interval '10 minutes'
            AND s.ctid = ANY (ARRAY(SELECT o.ctid FROM identity.ended_sessions AS o
                WHERE o.expires_at < now() - interval '10 minutes' ORDER BY o.expires_at LIMIT sweep.batch));
    GET DIAGNOSTICS count = ROW_COUNT;
    RETURN NEXT;
    swept := 'refresh_tokens';
    DELETE FROM identity.refresh_tokens AS t
        WHERE t.expires_at < now() - interval '1 day'
            AND t.ctid = ANY (ARRAY(SELECT o.ctid FROM identity.refresh_tokens AS o
                WHERE o.expires_at < now() - interval '1 day' ORDER BY o.expires_at LIMIT sweep.batch));
    GET DIAGNOSTICS count = ROW_COUNT;
    RETURN NEXT;
    swept := 'sessions';
    DELETE FROM identity.sessions AS s
        WHERE least(s.ended_at, s.refresh_expires_at) < now() - interval '30 days'
            AND s.ctid = ANY (ARRAY(SELECT o.ctid FROM identity.sessions AS o
                WHERE least(o.ended_at, o.refresh_expires_at) < now() - interval '30 days'
                ORDER BY least(o.ended_at, o.refresh_expires_at) LIMIT sweep.batch));
    GET DIAGNOSTICS count = ROW_COUNT;
    RETURN NEXT;
    swept := 'requests';
    DELETE FROM identity.requests AS r
        WHERE r.created_at < now() - interval '7 days'
            AND r.ctid = ANY (ARRAY(SELECT o.ctid FROM identity.requests AS o
                WHERE o.created_at < now() - interval '7 days' ORDER BY o.created_at LIMIT sweep.batch));
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
        WHERE d.expires_at < now() - interval '1 day'
            AND d.ctid = ANY (ARRAY(SELECT o.ctid FROM identity.device_tokens AS o
                WHERE o.expires_at < now() - interval '1 day' ORDER BY o.expires_at LIMIT sweep_device_tokens.batch));
    GET DIAGNOSTICS swept = ROW_COUNT;
    RETURN swept;
END
$$;

-- First what was not used, and then what was, which is kept for a week: an index of each has only rows of its kind.
CREATE OR REPLACE FUNCTION identity.sweep_recovery_tokens(batch integer) RETURNS bigint
    LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    unused bigint;
    used bigint;
BEGIN
    DELETE FROM identity.recovery_tokens AS t
        WHERE t.spent_at IS NULL AND t.expires_at < now() - interval '1 minute'
            AND t.ctid = ANY (ARRAY(SELECT o.ctid FROM identity.recovery_tokens AS o
                WHERE o.spent_at IS NULL AND o.expires_at < now() - interval '1 minute'
                ORDER BY o.expires_at LIMIT sweep_recovery_tokens.batch));
    GET DIAGNOSTICS unused = ROW_COUNT;
    DELETE FROM identity.recovery_tokens AS t
        WHERE t.expires_at < now() - interval '7 days'
            AND t.ctid = ANY (ARRAY(SELECT o.ctid FROM identity.recovery_tokens AS o
                WHERE o.expires_at < now() - interval '7 days'
                ORDER BY o.expires_at LIMIT greatest(sweep_recovery_tokens.batch - unused, 0)));
    GET DIAGNOSTICS used = ROW_COUNT;
    RETURN unused + used;
END
$$;

-- As before, and people are chosen by their oldest events, in the order of the index.
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
        SELECT DISTINCT oldest.user_id FROM (
            SELECT l.user_id FROM identity.security_audit_log AS l
            WHERE l.occurred_at < before ORDER BY l.occurred_at LIMIT trim_audit_log.people
        ) AS oldest
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

SET LOCAL row_security = on;
