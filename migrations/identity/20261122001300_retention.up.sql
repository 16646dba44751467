SET LOCAL row_security = off;

-- What nobody needs any more is swept. The policies say what that is, so the function can reach nothing else.
-- An ended session is listed for longer than its tokens live, by whichever clock.
CREATE POLICY ended_sessions_sweep_select ON identity.ended_sessions FOR SELECT TO identity_owner
    USING (expires_at < now() - interval '10 minutes');
CREATE POLICY ended_sessions_sweep_delete ON identity.ended_sessions FOR DELETE TO identity_owner
    USING (expires_at < now() - interval '10 minutes');
-- A session that ended, or was not refreshed, is kept for a month: for its person, who asks what happened.
CREATE POLICY sessions_sweep_select ON identity.sessions FOR SELECT TO identity_owner
    USING (least(ended_at, refresh_expires_at) < now() - interval '30 days');
CREATE POLICY sessions_sweep_delete ON identity.sessions FOR DELETE TO identity_owner
    USING (least(ended_at, refresh_expires_at) < now() - interval '30 days');
-- An expired token is refused whether it is known or not.
CREATE POLICY refresh_tokens_sweep_select ON identity.refresh_tokens FOR SELECT TO identity_owner
    USING (expires_at < now() - interval '1 day');
CREATE POLICY refresh_tokens_sweep_delete ON identity.refresh_tokens FOR DELETE TO identity_owner
    USING (expires_at < now() - interval '1 day');
-- A retry comes within minutes; within a week it is still known as one.
CREATE POLICY requests_sweep_select ON identity.requests FOR SELECT TO identity_owner
    USING (created_at < now() - interval '7 days');
CREATE POLICY requests_sweep_delete ON identity.requests FOR DELETE TO identity_owner
    USING (created_at < now() - interval '7 days');

-- BRIN: rows come in the order of time, and an index of a few pages finds the old ones.
CREATE INDEX sessions_issued_at_idx ON identity.sessions USING brin (issued_at);
CREATE INDEX refresh_tokens_expires_at_idx ON identity.refresh_tokens USING brin (expires_at);
CREATE INDEX requests_created_at_idx ON identity.requests USING brin (created_at);

CREATE FUNCTION identity.sweep(batch integer) RETURNS TABLE (swept text, count bigint)
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
COMMENT ON FUNCTION identity.sweep(integer) IS
    'Deletes what has expired: of each table so many rows at most. Answers how many.';
GRANT EXECUTE ON FUNCTION identity.sweep(integer) TO identity_service;

SET LOCAL row_security = on;
