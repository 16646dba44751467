-- What one database needs before the services' own migrations run: who may connect, the two schemas, and
-- auth.uid(). Run by the database's owner, after 0001_roles.sql; running it again changes nothing. What the
-- schemas hold, and who may use them, is said by their owners in migrations/identity and migrations/data.

-- By default everybody may connect, and may make temporary tables (which come first in name look-up).
-- haven_backup is not on the list: a physical backup uses the replication protocol, which asks for no
-- database.
DO $$
BEGIN
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO identity_owner, identity_app, identity_worker, '
        'data_owner, data_app, data_worker, haven_readonly, haven_monitor', current_database());
END
$$;

-- Extensions usually land in public: agents look for pg_stat_statements there, and Haven for nothing.
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO haven_monitor;

-- A schema is handed to its owner as it is made. For that the admin has to be a member of the owner's role,
-- for these two statements and no longer: a standing membership would be a second, unwatched door to every
-- table.
DO $$
DECLARE
    service text;
    owning text;
    joins boolean;
    -- From Postgres 16 on, holding ADMIN OPTION counts as MEMBER, but only SET lets one hand something over.
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

-- auth.uid(): who the caller is, out of the claims that the transaction carries. A host such as Supabase
-- brings its own. After a transaction the setting is '' and not NULL; both, and claims without a sub, mean
-- nobody. Claims that are no JSON, or a sub that is no UUID, are an error: nothing that has a caller may go
-- on as if it had none.
--
-- The body is parsed here and now, so no search_path can change its meaning, and without a SET clause
-- Postgres can still inline it. It is SECURITY INVOKER: it reads a setting, and needs nobody's rights for
-- that.
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

-- The owners name auth.uid() in policies; the roles that those policies bind execute it. Granted only where
-- it is missing, because on a host that brings the function it is often open to everybody and not ours to
-- grant.
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
