-- A forced owner sees only what a policy shows it: without this line a migration would update zero rows, and
-- validate foreign keys against nothing, in silence. With it, such a statement is an error, and says so.
SET LOCAL row_security = off;

-- New functions and types are nobody's until they are granted; Postgres would give both to PUBLIC.
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON ROUTINES FROM PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE USAGE ON TYPES FROM PUBLIC;

-- To look a name up, not to read anything. The logins themselves need it for schema_version() below.
GRANT USAGE ON SCHEMA identity
    TO identity_anon, identity_user, identity_service, identity_app, identity_worker, haven_readonly;

-- sqlx made its history before this file ran, as this owner, and goes on using it: the one table whose owner
-- is also its only user. These four policies are what sqlx does to it, and bind no other role.
ALTER TABLE identity._sqlx_migrations ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY history_owner_select ON identity._sqlx_migrations FOR SELECT TO identity_owner USING (true);
CREATE POLICY history_owner_insert ON identity._sqlx_migrations FOR INSERT TO identity_owner
    WITH CHECK (true);
CREATE POLICY history_owner_update ON identity._sqlx_migrations FOR UPDATE TO identity_owner
    USING (true) WITH CHECK (true);
CREATE POLICY history_owner_delete ON identity._sqlx_migrations FOR DELETE TO identity_owner USING (true);

-- A service refuses to serve on a schema it does not know. It asks as its bare login, before it has any
-- caller. plpgsql, because the body of an SQL function is planned as it is created, which row_security = off
-- refuses.
CREATE FUNCTION identity.schema_version() RETURNS bigint
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    RETURN (SELECT coalesce(max(version), 0) FROM identity._sqlx_migrations WHERE success);
END
$$;
COMMENT ON FUNCTION identity.schema_version() IS
    'The newest migration that has been applied; 0 when there is none.';
GRANT EXECUTE ON FUNCTION identity.schema_version() TO identity_app, identity_worker;

-- sqlx writes the history row in this same transaction, through the policies above, which `off` turns into an
-- error.
SET LOCAL row_security = on;
