SET SESSION AUTHORIZATION haven_admin;
-- Prepares a database for the migrations of the services: the right to connect, the two schemas, and
-- auth.uid(). Run it as the owner of the database, after 0001_roles.sql. Running it again has no effect. The
-- objects of the schemas and the rights to them are in migrations/identity and migrations/data.

-- All roles may connect and create temporary tables (which come first in name resolution) by default.
DO $$
BEGIN
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO identity_owner, identity_app, identity_worker, '
        'data_owner, data_app, data_worker, haven_readonly, haven_backup, haven_monitor', current_database());
END
$$;

-- The functions that pgBackRest calls: it starts and ends a backup, and its check of the archive makes a restore
-- point and begins the next segment of the log. They give no row. They belong to the superuser of the server, so
-- an admin cannot grant them everywhere.
DO $$
DECLARE
    functions CONSTANT text[] := ARRAY[
        'pg_catalog.pg_backup_start(text, boolean)', 'pg_catalog.pg_backup_stop(boolean)',
        'pg_catalog.pg_create_restore_point(text)', 'pg_catalog.pg_switch_wal()'
    ];
    called text;
BEGIN
    FOREACH called IN ARRAY functions LOOP
        IF NOT has_function_privilege('haven_backup', called, 'EXECUTE') THEN
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO haven_backup', called);
        END IF;
    END LOOP;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE WARNING 'no backups yet; a superuser has to run: GRANT EXECUTE ON FUNCTION % TO haven_backup;',
        array_to_string(functions, ', ');
END
$$;

-- A large object is a row past every table: each role may create them, without a limit, and none is erased with
-- its person. Haven has none. The functions belong to the superuser of the server, so only a superuser can take
-- them from PUBLIC: deploy/postgres/roles.sql has the same statements.
DO $$
DECLARE
    called regprocedure;
BEGIN
    FOR called IN
        SELECT p.oid FROM pg_catalog.pg_proc AS p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a
        WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname ~ '^(lo_.*|loread|lowrite)$' AND a.grantee = 0
    LOOP
        IF NOT pg_catalog.pg_has_role(current_user, (SELECT proowner FROM pg_catalog.pg_proc WHERE oid = called), 'USAGE') THEN
            RAISE WARNING 'every role may create large objects; a superuser has to run deploy/postgres/roles.sql';
            RETURN;
        END IF;
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', called);
    END LOOP;
END
$$;

-- Extensions are usually in the schema public. Agents use pg_stat_statements there. Haven uses nothing in it.
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO haven_monitor;

-- Each schema is created with its owner. For this the admin must be a member of the owner role. The membership
-- is granted for these statements only, because a permanent one would give the admin access to every table.
DO $$
DECLARE
    service text;
    owning text;
    joins boolean;
    -- Since Postgres 16, ADMIN OPTION counts as MEMBER, but only SET allows to give an object to the role.
    membership CONSTANT text := CASE WHEN current_setting('server_version_num')::int >= 160000
        THEN 'SET' ELSE 'MEMBER' END;
BEGIN
    FOREACH service IN ARRAY ARRAY['identity', 'data'] LOOP
        owning := service || '_owner';
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = service) THEN
            joins := NOT pg_catalog.pg_has_role(current_user, owning, membership);
            IF joins THEN
                EXECUTE format('GRANT %I TO %I', owning, current_user);
            END IF;
            EXECUTE format('CREATE SCHEMA %I AUTHORIZATION %I', service, owning);
            IF joins THEN
                EXECUTE format('REVOKE %I FROM %I', owning, current_user);
            END IF;
        ELSIF (SELECT nspowner FROM pg_catalog.pg_namespace WHERE nspname = service) <> owning::regrole THEN
            RAISE EXCEPTION 'schema % exists, and does not belong to %', service, owning;
        END IF;
    END LOOP;
END
$$;

-- auth.uid() returns the user id of the caller, from the claims that the transaction has set. A host such as
-- Supabase has its own. After a transaction the setting is '' and not NULL. Both, and claims without a sub,
-- mean that there is no caller. Claims that are not JSON, or a sub that is not a UUID, are an error, so that a
-- call with a malformed identity does not continue without one.
--
-- The body is parsed when the function is created, so that no search_path can change its meaning. Without a
-- SET clause Postgres can still inline it. It is SECURITY INVOKER, because it only reads a setting.
DO $$
BEGIN
    IF to_regprocedure('auth.uid()') IS NULL THEN
        CREATE SCHEMA IF NOT EXISTS auth;
        CREATE FUNCTION auth.uid() RETURNS uuid
            LANGUAGE sql STABLE PARALLEL SAFE
            RETURN (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid;
        REVOKE ALL ON FUNCTION auth.uid() FROM PUBLIC;
        COMMENT ON FUNCTION auth.uid() IS
            'The person in whose name the transaction runs: sub of request.jwt.claims; NULL for none.';
    END IF;
END
$$;

-- The owners use auth.uid() in policies, and the roles that these policies apply to execute it. The rights are
-- granted only where they are missing: on a host that has its own function, all roles often have them, and
-- the admin may not be allowed to grant them.
DO $$
DECLARE
    bound text;
BEGIN
    FOREACH bound IN ARRAY ARRAY[
        'identity_owner', 'identity_anon', 'identity_user', 'identity_service', 'data_owner', 'data_user',
        'data_service'
    ] LOOP
        IF NOT has_schema_privilege(bound, 'auth', 'USAGE') THEN
            EXECUTE format('GRANT USAGE ON SCHEMA auth TO %I', bound);
        END IF;
        IF NOT has_function_privilege(bound, 'auth.uid()', 'EXECUTE') THEN
            EXECUTE format('GRANT EXECUTE ON FUNCTION auth.uid() TO %I', bound);
        END IF;
    END LOOP;
END
$$;
