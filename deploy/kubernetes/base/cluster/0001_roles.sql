SET SESSION AUTHORIZATION haven_admin;
-- Creates the roles of the cluster. Run it as an admin with CREATEROLE, who does not have to be a superuser.
-- Running it again has no effect. It is plain SQL for one transaction: psql, sqlx and `cargo dev` run the same
-- file.
--
-- It sets no passwords, because more people read this file than may know them. The operator sets the password
-- (or certificate map) of each login separately.

-- An existing role with other attributes or memberships than Haven declares is an error. It is not changed
-- silently, because another administrator gave it these rights and has to decide about them.
DO $$
DECLARE
    -- NOINHERIT: a member gets the rights of a role by SET ROLE only, so that no statement runs with more
    -- rights than it selected. haven_monitor and haven_backup are the exceptions: pg_monitor and
    -- pg_read_all_settings have rights to statistics and settings only, and neither monitoring agents nor
    -- pgBackRest use SET ROLE.
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
        ['haven_backup',     'LOGIN',   'INHERIT'],
        ['haven_monitor',    'LOGIN',   'INHERIT']
    ];
    -- The connections for requests can become anon and user, those of workers can become service. A user's
    -- request cannot become a service, because that needs another login.
    memberships CONSTANT text[] := ARRAY[
        ['identity_app',    'identity_anon'],
        ['identity_app',    'identity_user'],
        ['identity_worker', 'identity_service'],
        ['data_app',        'data_anon'],
        ['data_app',        'data_user'],
        ['data_worker',     'data_service']
    ];
    -- Since Postgres 16, inheritance is a property of the grant. Before, it is NOINHERIT of the member.
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
            OR existing.rolcanlogin <> (declared[2] = 'LOGIN')
            -- What earlier versions of this script gave to haven_backup is corrected below.
            OR (declared[1] <> 'haven_backup'
                AND (existing.rolreplication OR existing.rolinherit <> (declared[3] = 'INHERIT')))
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
            AND (member.rolname, granted.rolname) NOT IN (
                ('haven_monitor', 'pg_monitor'), ('haven_backup', 'pg_read_all_settings'))
            AND NOT EXISTS (
                SELECT FROM generate_subscripts(memberships, 1) AS i
                WHERE memberships[i][1] = member.rolname AND memberships[i][2] = granted.rolname)
    LOOP
        RAISE EXCEPTION 'role % is a member of %, which Haven does not declare', stray.member, stray.granted
            USING HINT = 'Compare it with migrations/cluster/0001_roles.sql, and revoke it.';
    END LOOP;
END
$$;

-- The rights of an admin depend on the server: up to Postgres 15 only a superuser can take REPLICATION away, and
-- since 16 granting a predefined role needs ADMIN OPTION on it. The installation can continue without any of
-- these, so a missing right is only a warning.
--
-- Earlier versions of this script gave REPLICATION to haven_backup. That copies every row past every policy, and
-- pgBackRest does not need it.
DO $$
DECLARE
    existing pg_catalog.pg_roles%ROWTYPE;
BEGIN
    SELECT * INTO existing FROM pg_catalog.pg_roles WHERE rolname = 'haven_backup';
    IF existing.rolreplication THEN
        ALTER ROLE haven_backup NOREPLICATION;
    END IF;
    IF NOT existing.rolinherit THEN
        ALTER ROLE haven_backup INHERIT;
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE WARNING 'haven_backup may copy every row; a superuser has to run: '
        'ALTER ROLE haven_backup NOREPLICATION INHERIT;';
END
$$;

-- pgBackRest compares its configuration with the path of the data directory and the archive's settings. The
-- functions that it calls are granted in 0002_database.sql.
DO $$
BEGIN
    IF NOT pg_catalog.pg_has_role('haven_backup', 'pg_read_all_settings', 'USAGE') THEN
        GRANT pg_read_all_settings TO haven_backup;
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE WARNING 'no backups yet; a superuser has to run: GRANT pg_read_all_settings TO haven_backup;';
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

-- Postgres lets each login change its own settings (ALTER ROLE CURRENT_USER SET ...), and they apply to all of its
-- later sessions. An attacker who has used a login once can make it read only, or slow, for good. So this script
-- resets, with a warning, each setting that a login can give itself and that neither this script nor
-- deploy/postgres/roles.sql declares. Settings for one database go too, because they override the declared ones.
-- Settings that only a superuser can give stay.
DO $$
DECLARE
    -- Of which logins (a pattern) each setting is declared. Values are set below, and in roles.sql.
    declared CONSTANT text[] := ARRAY[
        ['search_path',                         '^((identity|data)_(owner|app|worker)|haven_readonly)$'],
        ['statement_timeout',                   '^((identity|data)_(owner|app|worker)|haven_(readonly|backup|monitor))$'],
        ['lock_timeout',                        '^((identity|data)_(owner|app|worker)|haven_(readonly|monitor))$'],
        ['idle_in_transaction_session_timeout', '^((identity|data)_(owner|app|worker)|haven_(readonly|monitor))$'],
        ['idle_session_timeout',                '^((identity|data)_owner|haven_(readonly|monitor))$'],
        ['default_transaction_read_only',       '^haven_(readonly|monitor)$']
    ];
    stray record;
BEGIN
    FOR stray IN
        SELECT r.rolname, d.datname, o.setdatabase, pair.name, pair.value
        FROM pg_catalog.pg_db_role_setting AS o
            JOIN pg_catalog.pg_roles AS r ON r.oid = o.setrole
            LEFT JOIN pg_catalog.pg_database AS d ON d.oid = o.setdatabase,
            unnest(o.setconfig) AS entry,
            LATERAL (SELECT split_part(entry, '=', 1) AS name, substr(entry, strpos(entry, '=') + 1) AS value) AS pair
            LEFT JOIN pg_catalog.pg_settings AS s ON s.name = pair.name
        WHERE r.rolname ~ '^((identity|data)_(owner|app|worker)|haven_(readonly|backup|monitor))$'
            AND s.context = 'user'
            AND (o.setdatabase <> 0 OR NOT EXISTS (
                SELECT FROM generate_subscripts(declared, 1) AS i
                WHERE declared[i][1] = pair.name AND r.rolname ~ declared[i][2]))
    LOOP
        RAISE WARNING 'role % has set % to %, which Haven does not declare: it is reset', stray.rolname, stray.name,
            stray.value USING HINT = 'The login may have changed it itself: find out who used it, and change its password.';
        EXECUTE format('ALTER ROLE %I %s RESET %I', stray.rolname,
            CASE WHEN stray.setdatabase <> 0 THEN format('IN DATABASE %I', stray.datname) END, stray.name);
    END LOOP;
END
$$;

-- The empty search_path requires every statement to name its schemas, so that no object can shadow another.
-- The time limits are a fallback: each transaction of the services sets a shorter statement_timeout. A call in one round trip cannot, and
-- has this one.
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

-- A migration that waits for a lock blocks all later statements on that table. With lock_timeout it fails
-- instead, and can be run again.
ALTER ROLE identity_owner  SET search_path = '';
ALTER ROLE identity_owner  SET lock_timeout = '10s';
ALTER ROLE identity_owner  SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE data_owner      SET search_path = '';
ALTER ROLE data_owner      SET lock_timeout = '10s';
ALTER ROLE data_owner      SET idle_in_transaction_session_timeout = '60s';

-- haven_monitor keeps its search_path, because monitoring agents find pg_stat_statements by it.
ALTER ROLE haven_readonly  SET search_path = '';
ALTER ROLE haven_readonly  SET default_transaction_read_only = on;
ALTER ROLE haven_readonly  SET statement_timeout = '30s';
ALTER ROLE haven_readonly  SET lock_timeout = '5s';
ALTER ROLE haven_readonly  SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE haven_monitor   SET default_transaction_read_only = on;
ALTER ROLE haven_monitor   SET statement_timeout = '30s';
ALTER ROLE haven_monitor   SET lock_timeout = '5s';
ALTER ROLE haven_monitor   SET idle_in_transaction_session_timeout = '60s';
