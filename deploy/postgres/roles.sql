-- The limits of the logins, what their sessions log, and which writes the audit log records. A superuser runs it on Haven's
-- database after the migrations, at the installation and after each upgrade: a table that a migration creates again has lost
-- its audit. Running it again changes nothing. It needs pgaudit in shared_preload_libraries.

-- Connections, over all replicas of a service: DATABASE_POOL_SIZE and WORKER_POOL_SIZE times the replicas, and one more replica
-- for a rolling update. Behind a pooler they are the pooler's connections. Each replica of data has one more where it listens, and two
-- more while it starts, past any pooler.
ALTER ROLE identity_app    CONNECTION LIMIT 120;
ALTER ROLE data_app        CONNECTION LIMIT 120;
ALTER ROLE identity_worker CONNECTION LIMIT 40;
ALTER ROLE data_worker     CONNECTION LIMIT 55;
ALTER ROLE identity_owner  CONNECTION LIMIT 4;
ALTER ROLE data_owner      CONNECTION LIMIT 4;
ALTER ROLE haven_readonly  CONNECTION LIMIT 10;
ALTER ROLE haven_backup    CONNECTION LIMIT 10;
ALTER ROLE haven_monitor   CONNECTION LIMIT 5;

-- Rights that only a superuser can give on some versions: see migrations/cluster. Backups need no REPLICATION, which earlier
-- versions gave, and which copies every row.
ALTER ROLE haven_backup NOREPLICATION INHERIT;
GRANT pg_read_all_settings TO haven_backup;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_backup_start(text, boolean), pg_catalog.pg_backup_stop(boolean),
    pg_catalog.pg_create_restore_point(text), pg_catalog.pg_switch_wal() TO haven_backup;
GRANT pg_monitor TO haven_monitor;

-- Large objects are rows past every table and every policy: each role may create them, without a limit, and none is erased
-- with its person. Haven has none.
DO $$
DECLARE
    called regprocedure;
BEGIN
    FOR called IN
        SELECT p.oid FROM pg_catalog.pg_proc AS p
        WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname ~ '^(lo_.*|loread|lowrite)$'
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', called);
    END LOOP;
END
$$;

-- Sessions of people and tools that do nothing end. The services' pools keep idle connections on purpose.
ALTER ROLE identity_owner  SET idle_session_timeout = '10min';
ALTER ROLE data_owner      SET idle_session_timeout = '10min';
ALTER ROLE haven_readonly  SET idle_session_timeout = '10min';
ALTER ROLE haven_monitor   SET idle_session_timeout = '10min';

-- A migration may rewrite a large table.
ALTER ROLE identity_owner  SET statement_timeout = '2h';
ALTER ROLE data_owner      SET statement_timeout = '2h';
-- The start of a backup waits for a checkpoint, and its end for the archive.
ALTER ROLE haven_backup    SET statement_timeout = '2h';

CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
CREATE EXTENSION IF NOT EXISTS pgaudit;

DO $$
DECLARE
    login text;
BEGIN
    FOREACH login IN ARRAY ARRAY[
        'identity_owner', 'identity_app', 'identity_worker', 'data_owner', 'data_app', 'data_worker',
        'haven_readonly', 'haven_backup', 'haven_monitor'
    ] LOOP
        -- Errors and warnings go to the client only, because their messages can quote values. What ranks above them stays:
        -- connections, lock waits, the audit log, and the end of a session.
        EXECUTE format('ALTER ROLE %I SET log_min_messages = %L', login, 'log');
        -- The audit log names the command and the table. The statement could have a person's data as literals.
        EXECUTE format('ALTER ROLE %I SET pgaudit.log_statement = off', login);
    END LOOP;
    -- An error can quote the password of an unfinished CREATE ROLE. A host may have another admin than this one.
    IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'haven_admin') THEN
        ALTER ROLE haven_admin SET log_min_messages = 'log';
    END IF;
    -- Everything that an owner does, and everything that haven_readonly reads, is an event: one line for each table. The
    -- services never connect as them.
    FOREACH login IN ARRAY ARRAY['identity_owner', 'data_owner', 'haven_readonly'] LOOP
        EXECUTE format('ALTER ROLE %I SET pgaudit.log = %L', login, 'ddl, role, read, write');
        EXECUTE format('ALTER ROLE %I SET pgaudit.log_relation = on', login);
    END LOOP;
    -- pgaudit records the statements that use a right of this role. Nothing may become it.
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'haven_audit') THEN
        CREATE ROLE haven_audit NOLOGIN NOINHERIT;
    END IF;
END
$$;

-- Writes that an investigation asks about, of every login. They are rare. Two properties of pgaudit shape the list. It does not
-- record what runs inside of a SECURITY DEFINER function: an erased account shows by its row in identity.erasures, which the
-- service updates when data has confirmed. And a row lock (FOR UPDATE, FOR KEY SHARE) uses the right to UPDATE, so a lock on a
-- user shows as a READ.
-- Passwords, and email addresses, which no RPC changes; deleted accounts.
GRANT UPDATE (password_hash, email, email_canonical), DELETE    ON identity.users              TO haven_audit;
GRANT INSERT, UPDATE, DELETE                                    ON identity.erasures           TO haven_audit;
GRANT DELETE                                                    ON data.users                  TO haven_audit;
GRANT INSERT, UPDATE, DELETE                                    ON data.tombstones             TO haven_audit;
-- Devices and their keys.
GRANT INSERT, UPDATE (status, encrypted_master_key), DELETE     ON data.device_key             TO haven_audit;
-- Shares, and the end of each.
GRANT INSERT, UPDATE (revoked_at), DELETE                       ON data.healthcare_share       TO haven_audit;
-- The services' own audit logs, which only the retention shortens.
GRANT UPDATE, DELETE                                            ON identity.security_audit_log TO haven_audit;
GRANT UPDATE, DELETE                                            ON data.security_audit_log     TO haven_audit;
