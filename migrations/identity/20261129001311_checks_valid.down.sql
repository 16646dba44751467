SET LOCAL row_security = off;

-- As the migration before leaves them: a constraint that was validated has to be made again.
DO $$
DECLARE
    relation regclass;
    name text;
    definition text;
BEGIN
    FOR relation, name, definition IN
        SELECT c.conrelid::regclass, c.conname, pg_get_constraintdef(c.oid) FROM pg_constraint AS c
        WHERE c.contype = 'c' AND c.conname LIKE '%\_rules' AND c.connamespace = 'identity'::regnamespace
    LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I, ADD CONSTRAINT %I %s NOT VALID', relation, name, name, definition);
    END LOOP;
END
$$;

SET LOCAL row_security = on;
