SET LOCAL row_security = off;

-- Erasing somebody who has much. One statement for all of it would hold its locks for as long as it takes, and begin
-- again from nothing when it takes too long: so rows go in batches first, each in a transaction of its own, and what is
-- left goes with the person.
--
-- How many rows went in batches, of each table. It is part of the receipt, and goes when there is one.
CREATE TABLE data.erasures (
    user_id uuid NOT NULL,
    erased jsonb NOT NULL,
    CONSTRAINT erasures_pkey PRIMARY KEY (user_id)
);
COMMENT ON TABLE data.erasures IS 'What is gone already of people whose erasure is under way.';

ALTER TABLE data.erasures ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

-- What is exported meanwhile is not whole, and that is the person's to know.
GRANT SELECT (user_id) ON data.erasures TO data_user;
CREATE POLICY erasures_user_select ON data.erasures FOR SELECT TO data_user USING (user_id = (SELECT auth.uid()));
CREATE POLICY erasures_owner_select ON data.erasures FOR SELECT TO data_owner USING (user_id = (SELECT auth.uid()));
CREATE POLICY erasures_owner_insert ON data.erasures FOR INSERT TO data_owner
    WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY erasures_owner_update ON data.erasures FOR UPDATE TO data_owner
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY erasures_owner_delete ON data.erasures FOR DELETE TO data_owner USING (user_id = (SELECT auth.uid()));

-- A lock is an update to a policy.
CREATE POLICY conversation_counters_erase_lock ON data.conversation_counters FOR UPDATE TO data_owner
    USING (user_id = (SELECT auth.uid())) WITH CHECK (false);

CREATE POLICY conversations_erase_delete ON data.conversations FOR DELETE TO data_owner
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY analysis_jobs_erase_delete ON data.analysis_jobs FOR DELETE TO data_owner
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY analysis_results_erase_delete ON data.analysis_results FOR DELETE TO data_owner
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY crisis_events_erase_delete ON data.crisis_events FOR DELETE TO data_owner
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY requests_erase_delete ON data.requests FOR DELETE TO data_owner USING (user_id = (SELECT auth.uid()));
CREATE POLICY device_key_erase_delete ON data.device_key FOR DELETE TO data_owner
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY security_audit_log_erase_delete ON data.security_audit_log FOR DELETE TO data_owner
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY envelope_nonces_erase_delete ON data.envelope_nonces FOR DELETE TO data_owner
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY purged_records_erase_delete ON data.purged_records FOR DELETE TO data_owner
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY encrypted_user_prefs_erase_delete ON data.encrypted_user_prefs FOR DELETE TO data_owner
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY healthcare_share_erase_delete ON data.healthcare_share FOR DELETE TO data_owner
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY share_token_erase_delete ON data.share_token FOR DELETE TO data_owner
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY healthcare_share_audit_erase_delete ON data.healthcare_share_audit FOR DELETE TO data_owner
    USING (user_id = (SELECT auth.uid()));

-- The tables that hold rows of people, as the catalog has them, so that a later one cannot be forgotten; those that refer
-- to others before the others. Not the tombstones, and not what an erasure itself writes.
CREATE FUNCTION data.person_tables() RETURNS TABLE (name text, is_counter boolean)
    LANGUAGE sql STABLE SECURITY INVOKER SET search_path = ''
    AS $$
    WITH RECURSIVE tables AS (
        SELECT c.oid, c.relname
        FROM pg_catalog.pg_class AS c
            JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
            JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'user_id'
        WHERE n.nspname = 'data' AND c.relkind IN ('r', 'p') AND NOT c.relispartition
            AND c.relname NOT IN ('tombstones', 'erasures')
    ), depths AS (
        SELECT t.oid, 0 AS depth FROM tables AS t
        UNION
        SELECT k.conrelid, d.depth + 1
        FROM depths AS d
            JOIN pg_catalog.pg_constraint AS k ON k.confrelid = d.oid AND k.contype = 'f' AND k.conrelid <> k.confrelid
    )
    SELECT format('data.%I', t.relname), t.relname LIKE '%\_counters'
    FROM tables AS t JOIN depths AS d ON d.oid = t.oid
    GROUP BY t.relname ORDER BY max(d.depth) DESC, t.relname;
$$;
COMMENT ON FUNCTION data.person_tables() IS
    'Answers the tables that hold rows of people, those that refer to others first.';

-- Whoever writes locks their counter and then, by a foreign key, the person: in the same order neither waits for the other
-- in a circle.
CREATE FUNCTION data.erase_batch(batch integer) RETURNS bigint
    LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    person CONSTANT uuid := auth.uid();
    relation record;
    found_rows bigint;
    counts jsonb := '{}';
    there bigint := 0;
    gone bigint := 0;
BEGIN
    IF person IS NULL THEN
        RAISE insufficient_privilege USING MESSAGE = 'nobody is to be erased';
    END IF;
    PERFORM FROM data.conversation_counters AS c WHERE c.user_id = person FOR UPDATE;
    PERFORM FROM data.change_counters AS c WHERE c.user_id = person FOR UPDATE;
    PERFORM FROM data.users AS u WHERE u.id = person FOR UPDATE;
    -- It was done before: there is a receipt already.
    IF EXISTS (SELECT FROM data.tombstones AS t WHERE t.user_id = person) THEN
        RETURN 0;
    END IF;
    -- Who has less than a batch goes at once, and is never seen with some of it.
    FOR relation IN SELECT t.name FROM data.person_tables() AS t WHERE NOT t.is_counter LOOP
        EXECUTE format('SELECT count(*) FROM (SELECT FROM %s WHERE user_id = $1 LIMIT $2) AS rows', relation.name)
            INTO found_rows USING person, erase_batch.batch - there;
        there := there + found_rows;
        EXIT WHEN there >= erase_batch.batch;
    END LOOP;
    IF there < erase_batch.batch THEN
        RETURN 0;
    END IF;
    INSERT INTO data.erasures AS e (user_id, erased) VALUES (person, '{}') ON CONFLICT (user_id) DO NOTHING;
    SELECT e.erased INTO counts FROM data.erasures AS e WHERE e.user_id = person FOR UPDATE;
    FOR relation IN SELECT t.name FROM data.person_tables() AS t WHERE NOT t.is_counter LOOP
        EXECUTE format('DELETE FROM %1$s WHERE user_id = $1 AND ctid = ANY (ARRAY(
                SELECT ctid FROM %1$s WHERE user_id = $1 LIMIT $2))', relation.name)
            USING person, erase_batch.batch - gone;
        GET DIAGNOSTICS found_rows = ROW_COUNT;
        gone := gone + found_rows;
        counts := counts || jsonb_build_object(relation.name,
            coalesce((counts ->> relation.name)::bigint, 0) + found_rows);
        EXIT WHEN gone >= erase_batch.batch;
    END LOOP;
    UPDATE data.erasures AS e SET erased = counts WHERE e.user_id = person;
    RETURN gone;
END
$$;
COMMENT ON FUNCTION data.erase_batch(integer) IS
    'Deletes so many rows of the transaction''s person, who is being erased, if they have as many. Answers how many.';
GRANT EXECUTE ON FUNCTION data.erase_batch(integer) TO data_service;

-- As before; but for the locks, and for what went in batches.
CREATE OR REPLACE FUNCTION data.erase_user(at timestamptz) RETURNS TABLE (erased_at timestamptz, erased jsonb)
    LANGUAGE plpgsql VOLATILE ROWS 1 SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    person CONSTANT uuid := auth.uid();
    relation record;
    known bigint;
    found_rows bigint;
    before jsonb;
    counts jsonb;
BEGIN
    IF person IS NULL THEN
        RAISE insufficient_privilege USING MESSAGE = 'nobody is to be erased';
    END IF;
    PERFORM FROM data.conversation_counters AS c WHERE c.user_id = person FOR UPDATE;
    PERFORM FROM data.change_counters AS c WHERE c.user_id = person FOR UPDATE;
    INSERT INTO data.users (id, created_at) VALUES (person, erase_user.at) ON CONFLICT (id) DO NOTHING;
    GET DIAGNOSTICS found_rows = ROW_COUNT;
    known := 1 - found_rows;
    PERFORM FROM data.users AS u WHERE u.id = person FOR UPDATE;
    IF EXISTS (SELECT FROM data.tombstones AS t WHERE t.user_id = person) THEN
        DELETE FROM data.users AS u WHERE u.id = person;
    ELSE
        SELECT e.erased INTO before FROM data.erasures AS e WHERE e.user_id = person;
        counts := jsonb_build_object('data.users', known);
        FOR relation IN SELECT t.name FROM data.person_tables() AS t LOOP
            EXECUTE format('SELECT count(*) FROM %s WHERE user_id = $1', relation.name)
                INTO found_rows USING person;
            counts := counts || jsonb_build_object(relation.name,
                coalesce((before ->> relation.name)::bigint, 0) + found_rows);
        END LOOP;
        DELETE FROM data.users AS u WHERE u.id = person;
        INSERT INTO data.tombstones (user_id, erased_at, erased) VALUES (person, erase_user.at, counts);
    END IF;
    DELETE FROM data.erasures AS e WHERE e.user_id = person;
    RETURN QUERY SELECT t.erased_at, t.erased FROM data.tombstones AS t WHERE t.user_id = person;
END
$$;

-- Who has tombstones or settled conflicts that are kept too long. The policies are for a transaction of nobody: in a
-- person's, they would be one more way to look for that person's rows.
CREATE POLICY encrypted_cycle_data_sweep_select ON data.encrypted_cycle_data FOR SELECT TO data_owner
    USING ((SELECT auth.uid()) IS NULL AND deleted_at < now() - interval '180 days' AND open_conflicts = 0);
CREATE POLICY cycle_data_conflicts_sweep_select ON data.cycle_data_conflicts FOR SELECT TO data_owner
    USING ((SELECT auth.uid()) IS NULL AND settled_at < now() - interval '180 days');
CREATE FUNCTION data.people_to_purge(batch integer, others uuid[]) RETURNS SETOF uuid
    LANGUAGE plpgsql STABLE STRICT SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    RETURN QUERY
        (SELECT r.user_id FROM data.encrypted_cycle_data AS r
            WHERE r.deleted_at < now() - interval '180 days' AND r.open_conflicts = 0
                AND r.user_id <> ALL (people_to_purge.others)
            ORDER BY r.deleted_at LIMIT people_to_purge.batch)
        UNION
        (SELECT k.user_id FROM data.cycle_data_conflicts AS k
            WHERE k.settled_at < now() - interval '180 days' AND k.user_id <> ALL (people_to_purge.others)
            ORDER BY k.settled_at LIMIT people_to_purge.batch);
END
$$;
COMMENT ON FUNCTION data.people_to_purge(integer, uuid[]) IS
    'Answers people, but for others, of whom something is kept that no device is told any more: those of the oldest so many.';
GRANT EXECUTE ON FUNCTION data.people_to_purge(integer, uuid[]) TO data_service;

SET LOCAL row_security = on;
