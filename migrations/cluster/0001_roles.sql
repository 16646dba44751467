-- The roles of the whole cluster. Run by an admin with CREATEROLE, who need not be a superuser; running it
-- again changes nothing. Plain SQL in one transaction: psql, sqlx and `cargo dev` all run the same file.
--
-- No password is set here: files are read by more people than passwords may be. Whoever installs Haven gives
-- each login its password (or certificate map) beside this script.

-- A role that is there already is not repaired in silence: if it has a power or a membership that it must not
-- have, somebody gave it that, and has to say why before Haven stands on it.
DO $$
DECLARE
    -- Members of a role have its rights only once they SET ROLE, so that no statement runs with rights it did
    -- not ask for. haven_monitor is the exception: pg_monitor's rights are to statistics, and no monitoring
    -- agent says SET ROLE.
    roles CONSTANT text[] := ARRAY[
        ['identity_owner',   'LOGIN',   'NOINHERIT'],
        ['identity_app',     'LOGIN',   'NOINHERIT'],
        ['identity_worker',  'LOGIN',   'NOINHERIT'],
        ['identity_anon',    'NOLOGIN', 'NOINHERIT'],
        ['identity_user',    'NOLOGIN', 'NOINHERIT'],
        ['identity_service', 'NOLOGIN', 'NOINHERIT'],
        ['data_owner',       'LOGIN',   'NOINHERIT'],
        ['data_app',         'LOGIN',   'NOINHERIT'],
        ['data_worker',      'LOGIN',   'NOINHERIT'],
        ['data_anon',        'NOLOGIN', 'NOINHERIT'],
        ['data_user',        'NOLOGIN', 'NOINHERIT'],
        ['data_service',     'NOLOGIN', 'NOINHERIT'],
        ['haven_readonly',   'LOGIN',   'NOINHERIT'],
        ['haven_backup',     'LOGIN',   'NOINHERIT'],
        ['haven_monitor',    'LOGIN',   'INHERIT']
    ];
    -- A request's connection can reach anon and user, a worker's can reach service: a person's session cannot
    -- become a service, because that is another login.
    memberships CONSTANT text[] := ARRAY[
        ['identity_app',    'identity_anon'],
        ['identity_app',    'identity_user'],
        ['identity_worker', 'identity_service'],
        ['data_app',        'data_anon'],
        ['data_app',        'data_user'],
        ['data_worker',     'data_service']
    ];
    -- From Postgres 16 on, inheritance is a property of the grant. Before, the member's NOINHERIT decides
    -- alone.
    options CONSTANT text := CASE WHEN current_setting('server_version_num')::int >= 160000
        THEN ' WITH INHERIT FALSE, SET TRUE' ELSE '' END;
    declared text[];
    existing pg_catalog.pg_roles%ROWTYPE;
    stray record;
BEGIN
    FOREACH declared SLICE 1 IN ARRAY roles LOOP
        SELECT * INTO existing FROM pg_catalog.pg_roles WHERE rolname = declared[1];
        IF NOT FOUND THEN
            EXECUTE format('CREATE ROLE %I %s %s', declared[1], declared[2], declared[3]);
        ELSIF existing.rolsuper OR existing.rolbypassrls OR existing.rolcreaterole OR existing.rolcreatedb
            OR (existing.rolreplication AND declared[1] <> 'haven_backup')
            OR existing.rolcanlogin <> (declared[2] = 'LOGIN')
            OR existing.rolinherit <> (declared[3] = 'INHERIT')
        THEN
            RAISE EXCEPTION 'role % exists with other attributes than Haven declares for it', declared[1]
                USING HINT = 'Compare it with migrations/cluster/0001_roles.sql, and alter or drop it.';
        END IF;
    END LOOP;

    FOREACH declared SLICE 1 IN ARRAY memberships LOOP
        IF NOT EXISTS (
            SELECT FROM pg_catalog.pg_auth_members
            WHERE member = declared[1]::regrole AND roleid = declared[2]::regrole
        ) THEN
            EXECUTE format('GRANT %I TO %I', declared[2], declared[1]) || options;
        END IF;
    END LOOP;

    FOR stray IN
        SELECT member.rolname AS member, granted.rolname AS granted
        FROM pg_catalog.pg_auth_members
            JOIN pg_catalog.pg_roles AS member ON member.oid = pg_auth_members.member
            JOIN pg_catalog.pg_roles AS granted ON granted.oid = pg_auth_members.roleid
        WHERE member.rolname = ANY (roles[:][1:1])
            AND (member.rolname, granted.rolname) <> ('haven_monitor', 'pg_monitor')
            AND NOT EXISTS (
                SELECT FROM generate_subscripts(memberships, 1) AS i
                WHERE memberships[i][1] = member.rolname AND memberships[i][2] = granted.rolname)
    LOOP
        RAISE EXCEPTION 'role % is a member of %, which Haven does not declare', stray.member, stray.granted
            USING HINT = 'Compare it with migrations/cluster/0001_roles.sql, and revoke it.';
    END LOOP;
END
$$;

-- What an admin may hand out depends on the server: up to Postgres 15 only a superuser gives REPLICATION, and
-- from 16 on one needs ADMIN OPTION on pg_monitor. Neither is worth refusing to install for, so it is said
-- and skipped.
DO $$
BEGIN
    IF NOT (SELECT rolreplication FROM pg_catalog.pg_roles WHERE rolname = 'haven_backup') THEN
        ALTER ROLE haven_backup REPLICATION;
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE WARNING 'no physical backups yet; a superuser has to run: ALTER ROLE haven_backup REPLICATION;';
END
$$;

DO $$
BEGIN
    IF NOT pg_catalog.pg_has_role('haven_monitor', 'pg_monitor', 'USAGE') THEN
        GRANT pg_monitor TO haven_monitor;
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE WARNING 'no monitoring yet; a superuser has to run: GRANT pg_monitor TO haven_monitor;';
END
$$;

-- The empty search_path makes every statement name its schema, so that no object can be slipped in front of
-- another. The time limits are the backstop under the services' own: each transaction sets a shorter
-- statement_timeout.
ALTER ROLE identity_app    SET search_path = '';
ALTER ROLE identity_app    SET statement_timeout = '30s';
ALTER ROLE identity_app    SET lock_timeout = '5s';
ALTER ROLE identity_app    SET idle_in_transaction_session_timeout = '15s';
ALTER ROLE identity_worker SET search_path = '';
ALTER ROLE identity_worker SET statement_timeout = '30s';
ALTER ROLE identity_worker SET lock_timeout = '5s';
ALTER ROLE identity_worker SET idle_in_transaction_session_timeout = '15s';
ALTER ROLE data_app        SET search_path = '';
ALTER ROLE data_app        SET statement_timeout = '30s';
ALTER ROLE data_app        SET lock_timeout = '5s';
ALTER ROLE data_app        SET idle_in_transaction_session_timeout = '15s';
ALTER ROLE data_worker     SET search_path = '';
ALTER ROLE data_worker     SET statement_timeout = '30s';
ALTER ROLE data_worker     SET lock_timeout = '5s';
ALTER ROLE data_worker     SET idle_in_transaction_session_timeout = '15s';

-- A migration that waits for a lock blocks everybody who comes after it: better that it fails and is run
-- again.
ALTER ROLE identity_owner  SET search_path = '';
ALTER ROLE identity_owner  SET lock_timeout = '10s';
ALTER ROLE identity_owner  SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE data_owner      SET search_path = '';
ALTER ROLE data_owner      SET lock_timeout = '10s';
ALTER ROLE data_owner      SET idle_in_transaction_session_timeout = '60s';

-- haven_monitor keeps its search_path: agents look for pg_stat_statements wherever the host has put it.
ALTER ROLE haven_readonly  SET search_path = '';
ALTER ROLE haven_readonly  SET default_transaction_read_only = on;
ALTER ROLE haven_readonly  SET statement_timeout = '30s';
ALTER ROLE haven_readonly  SET lock_timeout = '5s';
ALTER ROLE haven_readonly  SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE haven_monitor   SET default_transaction_read_only = on;
ALTER ROLE haven_monitor   SET statement_timeout = '30s';
ALTER ROLE haven_monitor   SET lock_timeout = '5s';
ALTER ROLE haven_monitor   SET idle_in_transaction_session_timeout = '60s';
