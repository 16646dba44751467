-- The limits of the logins, and what the audit log records of their writes. A superuser runs it on the database after the
-- migrations; running it again changes nothing. It needs the extension pgaudit among shared_preload_libraries.

-- Connections, over all replicas of a service: DATABASE_POOL_SIZE and WORKER_POOL_SIZE times the replicas, and one more replica
-- for a rolling update. Behind a pooler they are the pooler's connections.
ALTER ROLE identity_app    CONNECTION LIMIT 120;
ALTER ROLE data_app        CONNECTION LIMIT 120;
ALTER ROLE identity_worker CONNECTION LIMIT 40;
ALTER ROLE data_worker     CONNECTION LIMIT 40;
ALTER ROLE identity_owner  CONNECTION LIMIT 4;
ALTER ROLE data_owner      CONNECTION LIMIT 4;
ALTER ROLE haven_readonly  CONNECTION LIMIT 10;
ALTER ROLE haven_backup    CONNECTION LIMIT 10;
ALTER ROLE haven_monitor   CONNECTION LIMIT 5;

-- Sessions of people and tools that do nothing end. The services' pools keep idle connections on purpose.
ALTER ROLE identity_owner  SET idle_session_timeout = '10min';
ALTER ROLE data_owner      SET idle_session_timeout = '10min';
ALTER ROLE haven_readonly  SET idle_session_timeout = '10min';
ALTER ROLE haven_monitor   SET idle_session_timeout = '10min';

-- A migration may rewrite a large table.
ALTER ROLE identity_owner  SET statement_timeout = '2h';
ALTER ROLE data_owner      SET statement_timeout = '2h';

-- Every write of an owner is an event, because the services never write as owners.
ALTER ROLE identity_owner  SET pgaudit.log = 'ddl, role, write';
ALTER ROLE data_owner      SET pgaudit.log = 'ddl, role, write';

CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
CREATE EXTENSION IF NOT EXISTS pgaudit;

-- pgaudit records the statements that use a right of this role. Nothing may become it.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'haven_audit') THEN
        CREATE ROLE haven_audit NOLOGIN NOINHERIT;
    END IF;
END
$$;

-- Writes that an investigation asks about. They are rare, and their statements have parameters in place of values.
GRANT UPDATE (password_hash), DELETE ON identity.users                TO haven_audit;
GRANT INSERT                         ON identity.erasures             TO haven_audit;
GRANT UPDATE, DELETE                 ON identity.security_audit_log   TO haven_audit;
GRANT UPDATE (status)                ON data.device_key               TO haven_audit;
GRANT INSERT, DELETE                 ON data.healthcare_share         TO haven_audit;
GRANT UPDATE, DELETE                 ON data.security_audit_log       TO haven_audit;
