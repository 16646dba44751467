-- oldest_binary: 20261129000600
SET LOCAL row_security = off;

-- As before, and the cost of a call follows the batch, and not the number of events.
CREATE OR REPLACE FUNCTION data.number_crisis_events(batch integer) RETURNS bigint
    LANGUAGE plpgsql VOLATILE STRICT SECURITY INVOKER SET search_path = ''
    AS $$
DECLARE
    last bigint;
    numbered bigint;
    people uuid[];
    events uuid[];
BEGIN
    -- In the order of the index: with statistics from a time with many such events, EXISTS would read the table.
    IF (SELECT e.id FROM data.crisis_events AS e WHERE e.number IS NULL
        ORDER BY e.created_at, e.user_id, e.id LIMIT 1) IS NULL
    THEN
        RETURN (SELECT f.last_number FROM data.crisis_feed AS f);
    END IF;
    -- Until the end of the transaction no other caller numbers, so numbers become visible in their order.
    SELECT f.last_number INTO STRICT last FROM data.crisis_feed AS f FOR UPDATE;
    -- Locked before they are numbered: an event that is erased meanwhile would take its number with it, and the last number
    -- would be given twice. An event that another transaction has locked gets its number next time, so that no caller waits for
    -- an erasure.
    SELECT array_agg(f.user_id ORDER BY f.created_at, f.user_id, f.id), array_agg(f.id ORDER BY f.created_at, f.user_id, f.id)
        INTO people, events
        FROM (
            SELECT o.user_id, o.id, o.created_at
            FROM data.crisis_events AS o WHERE o.number IS NULL
            ORDER BY o.created_at, o.user_id, o.id
            LIMIT number_crisis_events.batch
            FOR UPDATE SKIP LOCKED
        ) AS f;
    -- From arrays, which have few rows for the planner: a plan that is kept does not know the size of the batch, and would read
    -- the table to join it.
    UPDATE data.crisis_events AS e SET number = last + placed.place
        FROM unnest(people, events) WITH ORDINALITY AS placed (user_id, id, place)
        WHERE e.user_id = placed.user_id AND e.id = placed.id;
    GET DIAGNOSTICS numbered = ROW_COUNT;
    IF numbered > 0 THEN
        UPDATE data.crisis_feed AS f SET last_number = last + numbered;
    END IF;
    RETURN last + numbered;
END
$$;

-- Its conditions are true for the arguments that are NULL, which only a plan for these arguments knows.
ALTER FUNCTION data.healthcare_access_audit(uuid, timestamptz, uuid, integer) SET plan_cache_mode = 'force_custom_plan';

SET LOCAL row_security = on;
