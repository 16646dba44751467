SET LOCAL row_security = off;

-- As the migration before leaves them: a constraint that was validated has to be made again.
DO $$
DECLARE
    name text;
    relation regclass;
    definition text;
BEGIN
    FOR relation, name, definition IN
        SELECT c.conrelid::regclass, c.conname, pg_get_constraintdef(c.oid) FROM pg_constraint AS c
        WHERE (c.conrelid, c.conname) IN (
            ('identity.users'::regclass, 'users_password_hash_check'),
            ('identity.security_audit_log'::regclass, 'security_audit_log_event_check')
        )
    LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I, ADD CONSTRAINT %I %s NOT VALID', relation, name, name, definition);
    END LOOP;
END
$$;

SET LOCAL row_security = on;
