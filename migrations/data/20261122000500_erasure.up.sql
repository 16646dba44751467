SET LOCAL row_security = off;

-- What stays of a person who was erased: the id, so that nothing is ever stored under it again, and how many
-- rows of each table there were. Kept without end: a token or a message that is late by any time finds it.
CREATE TABLE data.tombstones (
    user_id uuid NOT NULL,
    erased_at timestamptz NOT NULL,
    erased jsonb NOT NULL,
    CONSTRAINT tombstones_pkey PRIMARY KEY (user_id)
);
COMMENT ON TABLE data.tombstones IS 'People who were erased: receipts, and nothing else of them.';

ALTER TABLE data.tombstones ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

-- Why somebody's write is refused is theirs to know.
GRANT SELECT ON data.tombstones TO data_user, data_service;
CREATE POLICY tombstones_user_select ON data.tombstones FOR SELECT TO data_user
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY tombstones_service_select ON data.tombstones FOR SELECT TO data_service
    USING (user_id = (SELECT auth.uid()));

-- Making somebody known, once and for ever: never after they were erased. Erasing inserts the person too, so of
-- the two at once one waits at the primary key, and what it does next it does in a statement that sees the other.
-- A violation of tombstones_pkey says that the person was erased, and takes the insert back.
CREATE FUNCTION data.provision_user(at timestamptz) RETURNS timestamptz
    LANGUAGE plpgsql VOLATILE SECURITY INVOKER SET search_path = ''
    AS $$
DECLARE
    person CONSTANT uuid := auth.uid();
BEGIN
    INSERT INTO data.users (id, created_at) VALUES (person, provision_user.at) ON CONFLICT (id) DO NOTHING;
    IF EXISTS (SELECT FROM data.tombstones AS t WHERE t.user_id = person) THEN
        RAISE unique_violation USING MESSAGE = 'the person was erased', CONSTRAINT = 'tombstones_pkey';
    END IF;
    RETURN (SELECT u.created_at FROM data.users AS u WHERE u.id = person);
END
$$;
COMMENT ON FUNCTION data.provision_user(timestamptz) IS
    'Makes the transaction''s person known, and answers since when they are.';
GRANT EXECUTE ON FUNCTION data.provision_user(timestamptz) TO data_service;

-- Erasing needs to see and to delete rows that no service may see. It runs as the owner, who sees those of the
-- transaction's person and nobody else's: every table needs a policy like these, or its rows are not counted (a
-- test erases somebody who has rows everywhere, and counts).
CREATE POLICY users_erase_select ON data.users FOR SELECT TO data_owner USING (id = (SELECT auth.uid()));
CREATE POLICY users_erase_insert ON data.users FOR INSERT TO data_owner WITH CHECK (id = (SELECT auth.uid()));
CREATE POLICY users_erase_update ON data.users FOR UPDATE TO data_owner
    USING (id = (SELECT auth.uid())) WITH CHECK (id = (SELECT auth.uid()));
CREATE POLICY users_erase_delete ON data.users FOR DELETE TO data_owner USING (id = (SELECT auth.uid()));
CREATE POLICY conversation_counters_erase ON data.conversation_counters FOR SELECT TO data_owner
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY conversations_erase ON data.conversations FOR SELECT TO data_owner
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY requests_erase ON data.requests FOR SELECT TO data_owner USING (user_id = (SELECT auth.uid()));
CREATE POLICY tombstones_erase_select ON data.tombstones FOR SELECT TO data_owner
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY tombstones_erase_insert ON data.tombstones FOR INSERT TO data_owner
    WITH CHECK (user_id = (SELECT auth.uid()));

-- The tables are those of the catalog and not of a list here, so that a later one cannot be forgotten. Rows are
-- counted first, under a lock that keeps others from adding some, and go with the person by their foreign keys.
CREATE FUNCTION data.erase_user(at timestamptz) RETURNS TABLE (erased_at timestamptz, erased jsonb)
    LANGUAGE plpgsql VOLATILE ROWS 1 SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    person CONSTANT uuid := auth.uid();
    relation record;
    known bigint;
    found_rows bigint;
    counts jsonb;
BEGIN
    IF person IS NULL THEN
        RAISE insufficient_privilege USING MESSAGE = 'nobody is to be erased';
    END IF;
    INSERT INTO data.users (id, created_at) VALUES (person, erase_user.at) ON CONFLICT (id) DO NOTHING;
    GET DIAGNOSTICS found_rows = ROW_COUNT;
    known := 1 - found_rows;
    PERFORM FROM data.users AS u WHERE u.id = person FOR UPDATE;
    IF EXISTS (SELECT FROM data.tombstones AS t WHERE t.user_id = person) THEN
        DELETE FROM data.users AS u WHERE u.id = person;
    ELSE
        counts := jsonb_build_object('data.users', known);
        FOR relation IN
            SELECT format('%I.%I', n.nspname, c.relname) AS name
            FROM pg_catalog.pg_class AS c
                JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
                JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'user_id'
            WHERE n.nspname = 'data' AND c.relkind IN ('r', 'p') AND NOT c.relispartition
                AND c.relname <> 'tombstones'
        LOOP
            EXECUTE format('SELECT count(*) FROM %s WHERE user_id = $1', relation.name)
                INTO found_rows USING person;
            counts := counts || jsonb_build_object(relation.name, found_rows);
        END LOOP;
        DELETE FROM data.users AS u WHERE u.id = person;
        INSERT INTO data.tombstones (user_id, erased_at, erased) VALUES (person, erase_user.at, counts);
    END IF;
    RETURN QUERY SELECT t.erased_at, t.erased FROM data.tombstones AS t WHERE t.user_id = person;
END
$$;
COMMENT ON FUNCTION data.erase_user(timestamptz) IS
    'Erases the transaction''s person, and answers the receipt: of the first time, if it is not.';
GRANT EXECUTE ON FUNCTION data.erase_user(timestamptz) TO data_service;

SET LOCAL row_security = on;
