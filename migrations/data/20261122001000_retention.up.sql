SET LOCAL row_security = off;

-- A retry comes within minutes; within a week it is still known as one. The policies say so, so the function can
-- reach nothing else.
CREATE POLICY requests_sweep_select ON data.requests FOR SELECT TO data_owner
    USING (created_at < now() - interval '7 days');
CREATE POLICY requests_sweep_delete ON data.requests FOR DELETE TO data_owner
    USING (created_at < now() - interval '7 days');

-- A lock is an update to a policy.
CREATE POLICY requests_sweep_update ON data.requests FOR UPDATE TO data_owner
    USING (created_at < now() - interval '7 days') WITH CHECK (false);

-- A B-tree, though rows come in the order of time: what a BRIN index says of a page stays true of rows that are gone, and
-- the pages that they leave are filled again, until every page may have old ones.
CREATE INDEX requests_created_at_idx ON data.requests (created_at);

CREATE FUNCTION data.sweep_requests(batch integer) RETURNS bigint
    LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    swept bigint;
BEGIN
    -- What somebody else has locked, whose person is being erased, is passed over: nobody waits for anybody in a circle.
    DELETE FROM data.requests AS r
        WHERE r.ctid = ANY (ARRAY(SELECT o.ctid FROM data.requests AS o
            WHERE o.created_at < now() - interval '7 days' ORDER BY o.created_at
            LIMIT sweep_requests.batch FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS swept = ROW_COUNT;
    RETURN swept;
END
$$;
COMMENT ON FUNCTION data.sweep_requests(integer) IS
    'Deletes so many requests at most that nobody retries any more. Answers how many.';
GRANT EXECUTE ON FUNCTION data.sweep_requests(integer) TO data_service;

SET LOCAL row_security = on;
