SET LOCAL row_security = off;

-- Changing a key needs to know how much is sealed under which, and whose it is. The texts themselves are opened and
-- sealed anew as the person whose they are, one at a time: no role may read them for this.
CREATE INDEX conversations_key_id_idx ON data.conversations (key_id, user_id);
CREATE INDEX analysis_results_key_id_idx ON data.analysis_results (key_id, user_id);

-- The functions below run as the owner, and say that they look at seals. Said by anybody else, it shows nothing.
CREATE POLICY conversations_seals ON data.conversations FOR SELECT TO data_owner
    USING ((SELECT current_setting('data.looks_at_seals', true)) = 'yes');
CREATE POLICY analysis_results_seals ON data.analysis_results FOR SELECT TO data_owner
    USING ((SELECT current_setting('data.looks_at_seals', true)) = 'yes');

CREATE FUNCTION data.sealing_keys() RETURNS SETOF text
    LANGUAGE plpgsql VOLATILE ROWS 2 SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    PERFORM set_config('data.looks_at_seals', 'yes', true);
    -- From one key to the next in the index: this costs as much as there are keys, and not as there are rows.
    RETURN QUERY
        WITH RECURSIVE of_messages AS (
            SELECT min(c.key_id) AS key_id FROM data.conversations AS c
            UNION ALL
            SELECT (SELECT min(c.key_id) FROM data.conversations AS c WHERE c.key_id > k.key_id)
            FROM of_messages AS k WHERE k.key_id IS NOT NULL
        ), of_analyses AS (
            SELECT min(r.key_id) AS key_id FROM data.analysis_results AS r
            UNION ALL
            SELECT (SELECT min(r.key_id) FROM data.analysis_results AS r WHERE r.key_id > k.key_id)
            FROM of_analyses AS k WHERE k.key_id IS NOT NULL
        )
        SELECT m.key_id FROM of_messages AS m WHERE m.key_id IS NOT NULL
        UNION
        SELECT a.key_id FROM of_analyses AS a WHERE a.key_id IS NOT NULL;
    PERFORM set_config('data.looks_at_seals', '', true);
END
$$;
COMMENT ON FUNCTION data.sealing_keys() IS 'The ids of the keys that something is sealed under.';

CREATE FUNCTION data.count_seals() RETURNS TABLE (field text, key_id text, count bigint)
    LANGUAGE plpgsql VOLATILE ROWS 4 SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    PERFORM set_config('data.looks_at_seals', 'yes', true);
    RETURN QUERY
        SELECT 'conversations.message_text', c.key_id, count(*) FROM data.conversations AS c GROUP BY c.key_id
        UNION ALL
        SELECT 'analysis_results.details', r.key_id, count(*) FROM data.analysis_results AS r GROUP BY r.key_id
        ORDER BY 1, 2;
    PERFORM set_config('data.looks_at_seals', '', true);
END
$$;
COMMENT ON FUNCTION data.count_seals() IS 'How many rows are sealed under each key. Counts them all.';

CREATE FUNCTION data.people_under(key_id text, after uuid, batch integer) RETURNS SETOF uuid
    LANGUAGE plpgsql VOLATILE STRICT ROWS 100 SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    PERFORM set_config('data.looks_at_seals', 'yes', true);
    RETURN QUERY
        SELECT p.user_id FROM (
            (SELECT DISTINCT c.user_id FROM data.conversations AS c
                WHERE c.key_id = people_under.key_id AND c.user_id > people_under.after
                ORDER BY c.user_id LIMIT people_under.batch)
            UNION
            (SELECT DISTINCT r.user_id FROM data.analysis_results AS r
                WHERE r.key_id = people_under.key_id AND r.user_id > people_under.after
                ORDER BY r.user_id LIMIT people_under.batch)
        ) AS p ORDER BY p.user_id LIMIT people_under.batch;
    PERFORM set_config('data.looks_at_seals', '', true);
END
$$;
COMMENT ON FUNCTION data.people_under(text, uuid, integer) IS
    'People who have something that is sealed under the key, in the order of their ids.';

GRANT EXECUTE ON FUNCTION data.sealing_keys(), data.count_seals(), data.people_under(text, uuid, integer)
    TO data_service;

SET LOCAL row_security = on;
