//! One way to break a server for each check.

use super::breakage::{Breakage, Change};

/// Returns all breakages.
pub(super) fn all() -> impl Iterator<Item = &'static Breakage> {
    [ROW_SECURITY, PRIVILEGES, ROLES, CONNECTIONS, LOGGING, SERVER]
        .into_iter()
        .flatten()
}

pub(super) const ROW_SECURITY: &[Breakage] = &[
    Breakage::sql(
        "row-security-forced",
        "table data.conversations: Row Level Security is enabled, but not forced",
        &["ALTER TABLE data.conversations NO FORCE ROW LEVEL SECURITY"],
        &["ALTER TABLE data.conversations FORCE ROW LEVEL SECURITY"],
    ),
    Breakage::sql(
        "row-security-forced",
        "table data.users: Row Level Security is not enabled",
        &["ALTER TABLE data.users DISABLE ROW LEVEL SECURITY"],
        &["ALTER TABLE data.users ENABLE ROW LEVEL SECURITY"],
    ),
    Breakage::sql(
        "policies-present",
        "table data._sqlx_migrations: no policy for SELECT by data_user",
        &["GRANT SELECT ON data._sqlx_migrations TO data_user"],
        &["REVOKE SELECT ON data._sqlx_migrations FROM data_user"],
    ),
    Breakage::sql(
        "policies-name-roles",
        "policy stray on data.conversations: applies to PUBLIC",
        &["CREATE POLICY stray ON data.conversations FOR SELECT USING (false)"],
        &["DROP POLICY stray ON data.conversations"],
    ),
    Breakage::sql(
        "policies-by-person",
        "policy stray on data.conversations: USING is always true",
        &["CREATE POLICY stray ON data.conversations FOR SELECT TO data_user USING (true)"],
        &["DROP POLICY stray ON data.conversations"],
    ),
    Breakage::sql(
        "views-security-invoker",
        "view data.user_metadata",
        &["ALTER VIEW data.user_metadata RESET (security_invoker)"],
        &["ALTER VIEW data.user_metadata SET (security_invoker = true)"],
    ),
    Breakage::sql(
        "relations-with-policies",
        "materialized view data.stray",
        &[
            "CREATE MATERIALIZED VIEW data.stray AS SELECT 1 AS one",
            "ALTER MATERIALIZED VIEW data.stray OWNER TO data_owner",
        ],
        &["DROP MATERIALIZED VIEW data.stray"],
    ),
    Breakage::sql(
        "row-security-setting",
        "row_security is off (role haven_readonly)",
        &["ALTER ROLE haven_readonly SET row_security = off"],
        &["ALTER ROLE haven_readonly RESET row_security"],
    ),
    Breakage::sql(
        "hash-columns",
        "role data_user selects data.device_key.device_id_hash",
        &["GRANT SELECT (device_id_hash) ON data.device_key TO data_user"],
        &["REVOKE SELECT (device_id_hash) ON data.device_key FROM data_user"],
    ),
    Breakage::sql(
        "leakproof-functions",
        "function public.stray()",
        &["CREATE FUNCTION public.stray() RETURNS int LANGUAGE sql LEAKPROOF RETURN 1"],
        &["DROP FUNCTION public.stray()"],
    ),
    Breakage::sql(
        "triggers-enabled",
        "on data.share_token",
        &["ALTER TABLE data.share_token DISABLE TRIGGER ALL"],
        &["ALTER TABLE data.share_token ENABLE TRIGGER ALL"],
    ),
    Breakage::sql(
        "rewrite-rules",
        "rule stray on data.conversations",
        &["CREATE RULE stray AS ON INSERT TO data.conversations DO ALSO NOTHING"],
        &["DROP RULE stray ON data.conversations"],
    ),
    Breakage::sql(
        "constraints-validated",
        "constraint stray on data.conversations: not validated",
        &["ALTER TABLE data.conversations ADD CONSTRAINT stray CHECK (true) NOT VALID"],
        &["ALTER TABLE data.conversations DROP CONSTRAINT stray"],
    ),
    Breakage::sql(
        "constraints-validated",
        "index data.share_token_token_hash_key: not valid",
        &[
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'data.share_token_token_hash_key'::regclass",
        ],
        &[
            "UPDATE pg_index SET indisvalid = true WHERE indexrelid = 'data.share_token_token_hash_key'::regclass",
        ],
    ),
];

pub(super) const PRIVILEGES: &[Breakage] = &[
    Breakage::sql(
        "public-tables",
        "SELECT on data.conversations",
        &["GRANT SELECT ON data.conversations TO PUBLIC"],
        &["REVOKE SELECT ON data.conversations FROM PUBLIC"],
    ),
    Breakage::sql(
        "public-tables",
        "SELECT on data.conversations.id",
        &["GRANT SELECT (id) ON data.conversations TO PUBLIC"],
        &["REVOKE SELECT (id) ON data.conversations FROM PUBLIC"],
    ),
    Breakage::sql(
        "public-functions",
        "EXECUTE on data.schema_version()",
        &["GRANT EXECUTE ON FUNCTION data.schema_version() TO PUBLIC"],
        &["REVOKE EXECUTE ON FUNCTION data.schema_version() FROM PUBLIC"],
    ),
    Breakage::sql(
        "public-types",
        "USAGE on data.cycle_change",
        &["GRANT USAGE ON TYPE data.cycle_change TO PUBLIC"],
        &["REVOKE USAGE ON TYPE data.cycle_change FROM PUBLIC"],
    ),
    Breakage::sql(
        "public-schemas",
        "CREATE on schema public",
        &["GRANT CREATE ON SCHEMA public TO PUBLIC"],
        &["REVOKE CREATE ON SCHEMA public FROM PUBLIC"],
    ),
    Breakage::sql(
        "public-schemas",
        "USAGE on schema data",
        &["GRANT USAGE ON SCHEMA data TO PUBLIC"],
        &["REVOKE USAGE ON SCHEMA data FROM PUBLIC"],
    ),
    Breakage::sql(
        "public-database",
        "TEMPORARY on database haven",
        &["GRANT TEMPORARY ON DATABASE haven TO PUBLIC"],
        &["REVOKE TEMPORARY ON DATABASE haven FROM PUBLIC"],
    ),
    Breakage::sql(
        "default-privileges",
        "role data_owner: nothing takes the default right to new functions from PUBLIC",
        &["ALTER DEFAULT PRIVILEGES FOR ROLE data_owner GRANT EXECUTE ON ROUTINES TO PUBLIC"],
        &["ALTER DEFAULT PRIVILEGES FOR ROLE data_owner REVOKE EXECUTE ON ROUTINES FROM PUBLIC"],
    ),
    Breakage::sql(
        "default-privileges",
        "role data_owner: PUBLIC gets SELECT on new objects of schema data",
        &["ALTER DEFAULT PRIVILEGES FOR ROLE data_owner IN SCHEMA data GRANT SELECT ON TABLES TO PUBLIC"],
        &["ALTER DEFAULT PRIVILEGES FOR ROLE data_owner IN SCHEMA data REVOKE SELECT ON TABLES FROM PUBLIC"],
    ),
    Breakage::sql(
        "grant-options",
        "data_worker may pass on EXECUTE on data.schema_version()",
        &["GRANT EXECUTE ON FUNCTION data.schema_version() TO data_worker WITH GRANT OPTION"],
        &["REVOKE GRANT OPTION FOR EXECUTE ON FUNCTION data.schema_version() FROM data_worker"],
    ),
    Breakage::sql(
        "rights-beyond-policies",
        "data_user has TRUNCATE on data.conversations",
        &["GRANT TRUNCATE ON data.conversations TO data_user"],
        &["REVOKE TRUNCATE ON data.conversations FROM data_user"],
    ),
    Breakage::sql(
        "bare-logins",
        "data_app has SELECT on data.user_metadata",
        &["GRANT SELECT ON data.user_metadata TO data_app"],
        &["REVOKE SELECT ON data.user_metadata FROM data_app"],
    ),
    Breakage::sql(
        "owners",
        "sequence data.stray belongs to postgres",
        &["CREATE SEQUENCE data.stray"],
        &["DROP SEQUENCE data.stray"],
    ),
    Breakage::sql(
        "logins-own-nothing",
        "data_app owns sequence public.stray",
        &[
            "CREATE SEQUENCE public.stray",
            "ALTER SEQUENCE public.stray OWNER TO data_app",
        ],
        &["DROP SEQUENCE public.stray"],
    ),
    Breakage::sql(
        "definer-search-path",
        "function data.schema_version(): search_path is not set",
        &["ALTER FUNCTION data.schema_version() RESET search_path"],
        &["ALTER FUNCTION data.schema_version() SET search_path = ''"],
    ),
    Breakage::sql(
        "definer-owner",
        "function data.schema_version() belongs to postgres",
        &["ALTER FUNCTION data.schema_version() OWNER TO postgres"],
        &["ALTER FUNCTION data.schema_version() OWNER TO data_owner"],
    ),
    Breakage::sql(
        "definer-owner",
        "function auth.stray() belongs to postgres",
        &[
            "CREATE FUNCTION auth.stray() RETURNS int LANGUAGE sql SECURITY DEFINER SET search_path = '' RETURN 1",
        ],
        &["DROP FUNCTION auth.stray()"],
    ),
    Breakage::sql(
        "creators",
        "data_app has CREATE on schema data",
        &["GRANT CREATE ON SCHEMA data TO data_app"],
        &["REVOKE CREATE ON SCHEMA data FROM data_app"],
    ),
    Breakage::sql(
        "creators",
        "data_user has TEMPORARY on the database",
        &["GRANT TEMPORARY ON DATABASE haven TO data_user"],
        &["REVOKE TEMPORARY ON DATABASE haven FROM data_user"],
    ),
    Breakage::sql(
        "parameter-rights",
        "data_user has SET on session_replication_role",
        &["GRANT SET ON PARAMETER session_replication_role TO data_user"],
        &["REVOKE SET ON PARAMETER session_replication_role FROM data_user"],
    ),
    Breakage::sql(
        "rights-beyond-policies",
        "data_user has REFERENCES on data.conversations.id",
        &["GRANT REFERENCES (id) ON data.conversations TO data_user"],
        &["REVOKE REFERENCES (id) ON data.conversations FROM data_user"],
    ),
    Breakage::sql(
        "native-functions",
        "function public.stray()",
        &["CREATE FUNCTION public.stray() RETURNS int LANGUAGE internal AS 'pg_backend_pid'"],
        &["DROP FUNCTION public.stray()"],
    ),
    Breakage::sql(
        "languages",
        "language plpgsql",
        // An untrusted language is a package of its own.
        &["UPDATE pg_language SET lanpltrusted = false WHERE lanname = 'plpgsql'"],
        &["UPDATE pg_language SET lanpltrusted = true WHERE lanname = 'plpgsql'"],
    ),
];

pub(super) const ROLES: &[Breakage] = &[
    Breakage::sql(
        "superusers",
        "role stranger",
        &["CREATE ROLE stranger SUPERUSER"],
        &["DROP ROLE stranger"],
    ),
    Breakage::sql(
        "bypass-row-security",
        "role data_app",
        &["ALTER ROLE data_app BYPASSRLS"],
        &["ALTER ROLE data_app NOBYPASSRLS"],
    ),
    Breakage::sql(
        "replication-roles",
        "role data_worker",
        &["ALTER ROLE data_worker REPLICATION"],
        &["ALTER ROLE data_worker NOREPLICATION"],
    ),
    Breakage::sql(
        "role-creators",
        "role haven_monitor has CREATEROLE and CREATEDB",
        &["ALTER ROLE haven_monitor CREATEROLE CREATEDB"],
        &["ALTER ROLE haven_monitor NOCREATEROLE NOCREATEDB"],
    ),
    Breakage::sql(
        "declared-roles",
        "role data_user has LOGIN and NOINHERIT",
        &["ALTER ROLE data_user LOGIN CONNECTION LIMIT 1"],
        &["ALTER ROLE data_user NOLOGIN CONNECTION LIMIT -1"],
    ),
    Breakage::sql(
        "declared-roles",
        "role data_app has LOGIN and INHERIT",
        &["ALTER ROLE data_app INHERIT"],
        &["ALTER ROLE data_app NOINHERIT"],
    ),
    Breakage::sql(
        "memberships",
        "role data_app is a member of data_service",
        &["GRANT data_service TO data_app"],
        &["REVOKE data_service FROM data_app"],
    ),
    Breakage::sql(
        "memberships",
        "role data_app is a member of data_user and may pass that on",
        &["GRANT data_user TO data_app WITH ADMIN OPTION"],
        &["REVOKE ADMIN OPTION FOR data_user FROM data_app"],
    ),
    Breakage::sql(
        "predefined-roles",
        "role haven_readonly is a member of pg_read_server_files",
        &["GRANT pg_read_server_files TO haven_readonly"],
        &["REVOKE pg_read_server_files FROM haven_readonly"],
    ),
    Breakage::sql(
        "unknown-logins",
        "login stranger",
        &[
            "CREATE ROLE stranger LOGIN",
            "GRANT CONNECT ON DATABASE haven TO stranger",
        ],
        &[
            "REVOKE CONNECT ON DATABASE haven FROM stranger",
            "DROP ROLE stranger",
        ],
    ),
    Breakage::sql(
        "role-settings",
        "role data_app in database haven sets session_replication_role to replica",
        &["ALTER ROLE data_app IN DATABASE haven SET session_replication_role = replica"],
        &["ALTER ROLE data_app IN DATABASE haven RESET session_replication_role"],
    ),
    Breakage::sql(
        "role-settings",
        "role data_app sets pgaudit.log to none",
        &["ALTER ROLE data_app SET pgaudit.log = 'none'"],
        &["ALTER ROLE data_app RESET pgaudit.log"],
    ),
    Breakage::sql(
        "role-settings",
        "role data_app sets pgaudit.log to read",
        &["ALTER ROLE data_app SET pgaudit.log = 'READ'"],
        &["ALTER ROLE data_app RESET pgaudit.log"],
    ),
    Breakage::sql(
        "durability",
        "synchronous_commit is off (role data_app)",
        &["ALTER ROLE data_app SET synchronous_commit = 'OFF'"],
        &["ALTER ROLE data_app RESET synchronous_commit"],
    ),
    Breakage::sql(
        "search-path",
        "login data_app: search_path is public",
        &["ALTER ROLE data_app IN DATABASE haven SET search_path = public"],
        &["ALTER ROLE data_app IN DATABASE haven RESET search_path"],
    ),
    Breakage::sql(
        "search-path",
        "login data_owner: search_path is not set",
        &["ALTER ROLE data_owner RESET search_path"],
        &["ALTER ROLE data_owner SET search_path = ''"],
    ),
    Breakage::sql(
        "stored-passwords",
        "role stranger",
        &[
            "SET password_encryption = 'md5'",
            "CREATE ROLE stranger PASSWORD 'weak'",
            "RESET password_encryption",
        ],
        &["DROP ROLE stranger"],
    ),
    Breakage::sql(
        "read-only-logins",
        "login haven_readonly: default_transaction_read_only is off",
        &["ALTER ROLE haven_readonly SET default_transaction_read_only = off"],
        &["ALTER ROLE haven_readonly SET default_transaction_read_only = on"],
    ),
    Breakage::sql(
        "connection-limits",
        "login data_app has no connection limit",
        &["ALTER ROLE data_app CONNECTION LIMIT -1"],
        &["ALTER ROLE data_app CONNECTION LIMIT 120"],
    ),
    Breakage::sql(
        "connection-limits",
        "and max_connections is 400",
        &["ALTER ROLE data_app CONNECTION LIMIT 399"],
        &["ALTER ROLE data_app CONNECTION LIMIT 120"],
    ),
    Breakage::sql(
        "time-limits",
        "login data_worker: lock_timeout is 0",
        &["ALTER ROLE data_worker IN DATABASE haven SET lock_timeout = 0"],
        &["ALTER ROLE data_worker IN DATABASE haven RESET lock_timeout"],
    ),
    Breakage::sql(
        "time-limits",
        "login data_app: statement_timeout is not set",
        &["ALTER ROLE data_app RESET statement_timeout"],
        &["ALTER ROLE data_app SET statement_timeout = '30s'"],
    ),
];

/// A line that lets all logins in without TLS.
const PLAIN: &str = "host haven all 127.0.0.1/32 scram-sha-256";

pub(super) const CONNECTIONS: &[Breakage] = &[
    Breakage {
        login: "app",
        ..Breakage::new("worker-login", "the login is data_app", Change::None)
    },
    Breakage {
        plain: true,
        ..Breakage::access("tls-in-use", "the connection is not encrypted", PLAIN).and(&["hba-tls"])
    },
    // Without TLS, lines with hostssl are errors, and no client can connect over TLS.
    Breakage {
        plain: true,
        ..Breakage::new("tls-on", "ssl is off", Change::Access(PLAIN, &[("ssl", "off")])).and(&[
            "hba-tls",
            "hba-valid",
            "tls-in-use",
        ])
    },
    Breakage::settings(
        "tls-version",
        "ssl_min_protocol_version is TLSv1.1",
        &[("ssl_min_protocol_version", "'TLSv1.1'")],
    ),
    Breakage::settings(
        "password-encryption",
        "password_encryption is md5 (the server)",
        &[("password_encryption", "'md5'")],
    ),
    Breakage::access("hba-valid", "line 1: ", "hostssl haven data_app 10.0.0.0/8 scram"),
    Breakage::access(
        "hba-tls",
        "line 1: host haven data_app 10.0.0.0 scram-sha-256",
        "host haven data_app 10.0.0.0/8 scram-sha-256",
    ),
    // The name all does not include replication.
    Breakage::access(
        "hba-tls",
        "line 2: host replication haven_backup 10.0.0.0 scram-sha-256",
        "hostnossl all all all reject\nhost replication haven_backup 10.0.0.0/8 scram-sha-256",
    ),
    Breakage::access(
        "hba-methods",
        "line 1: hostssl data_app trust",
        "hostssl haven data_app 10.0.0.0/8 trust",
    ),
    Breakage::access("hba-methods", "line 1: local all trust", "local all all trust"),
    Breakage::access(
        "hba-addresses",
        "line 1: hostssl data_app 0.0.0.0",
        "hostssl haven data_app 0.0.0.0/0 scram-sha-256",
    ),
    Breakage::access(
        "hba-addresses",
        "line 1: hostssl data_app all",
        "hostssl haven data_app all scram-sha-256",
    ),
    Breakage::access(
        "hba-superuser",
        "line 1: hostssl postgres 10.0.0.0",
        "hostssl haven postgres 10.0.0.0/8 scram-sha-256",
    ),
];

pub(super) const LOGGING: &[Breakage] = &[
    Breakage::settings(
        "log-statements",
        "log_statement is ddl (the server)",
        &[("log_statement", "ddl")],
    ),
    Breakage::sql(
        "log-statements",
        "log_statement is all (role data_app)",
        &["ALTER ROLE data_app SET log_statement = 'all'"],
        &["ALTER ROLE data_app RESET log_statement"],
    ),
    Breakage::settings(
        "log-slow-statements",
        "log_min_duration_statement is 1000",
        &[("log_min_duration_statement", "1000")],
    ),
    Breakage::settings(
        "log-slow-statements",
        "log_transaction_sample_rate is 0.1",
        &[("log_transaction_sample_rate", "0.1")],
    ),
    Breakage::settings(
        "log-parameters",
        "log_parameter_max_length_on_error is 100",
        &[("log_parameter_max_length_on_error", "100")],
    ),
    Breakage::settings(
        "log-error-details",
        "log_error_verbosity is verbose",
        &[("log_error_verbosity", "verbose")],
    ),
    Breakage::settings(
        "log-failing-statements",
        "log_min_error_statement is error",
        &[("log_min_error_statement", "error")],
    ),
    Breakage::settings(
        "log-plans",
        "debug_print_parse is on",
        &[("debug_print_parse", "on")],
    ),
    Breakage::new(
        "auto-explain",
        "auto_explain.log_min_duration is 100",
        Change::Settings(&[
            ("session_preload_libraries", "auto_explain"),
            ("auto_explain.log_min_duration", "100"),
        ]),
    ),
    Breakage::settings(
        "pgaudit-parameters",
        "pgaudit.log_parameter is on",
        &[("pgaudit.log_parameter", "on")],
    ),
    Breakage::settings(
        "changes-recorded",
        "pgaudit.log is ddl",
        &[("pgaudit.log", "ddl")],
    ),
    Breakage::settings(
        "connections-recorded",
        "log_connections is off",
        &[("log_connections", "off")],
    ),
    Breakage::settings(
        "statistics-without-literals",
        "pg_stat_statements.track_utility is on",
        &[("pg_stat_statements.track_utility", "on")],
    ),
    Breakage::sql(
        "statistics-readers",
        "role data_app reads public.pg_stat_statements",
        &["GRANT USAGE ON SCHEMA public TO data_app"],
        &["REVOKE USAGE ON SCHEMA public FROM data_app"],
    ),
];

pub(super) const SERVER: &[Breakage] = &[
    Breakage::sql(
        "schema-version",
        "schema data has version",
        &[
            "UPDATE data._sqlx_migrations SET success = false
              WHERE version = (SELECT max(version) FROM data._sqlx_migrations)",
        ],
        &["UPDATE data._sqlx_migrations SET success = true"],
    ),
    Breakage::settings(
        "durability",
        "synchronous_commit is off (the server)",
        &[("synchronous_commit", "off")],
    ),
    Breakage::settings("durability", "fsync is off", &[("fsync", "off")]),
    Breakage::settings(
        "unsafe-settings",
        "zero_damaged_pages is on",
        &[("zero_damaged_pages", "on")],
    ),
    Breakage::settings(
        "settings-applied",
        "max_connections waits for a restart",
        &[("max_connections", "390")],
    ),
    Breakage::sql(
        "replication-slots",
        "slot stray is inactive",
        &["SELECT pg_create_physical_replication_slot('stray', true)"],
        &["SELECT pg_drop_replication_slot('stray')"],
    ),
    Breakage::sql(
        "prepared-transactions",
        "transaction stray of postgres",
        &["BEGIN", "SELECT pg_current_xact_id()", "PREPARE TRANSACTION 'stray'"],
        &["ROLLBACK PREPARED 'stray'"],
    ),
    Breakage::sql(
        "extensions",
        "extension dblink",
        &["CREATE EXTENSION dblink SCHEMA public"],
        &["DROP EXTENSION dblink"],
    ),
    Breakage::settings(
        "preloaded-libraries",
        "dblink in session_preload_libraries",
        &[("session_preload_libraries", "dblink")],
    ),
    Breakage::sql(
        "foreign-data",
        "server stray",
        &[
            "CREATE FOREIGN DATA WRAPPER stray",
            "CREATE SERVER stray FOREIGN DATA WRAPPER stray",
        ],
        &["DROP SERVER stray", "DROP FOREIGN DATA WRAPPER stray"],
    ),
    Breakage::sql(
        "event-triggers",
        "event trigger stray",
        &[
            "CREATE FUNCTION public.stray() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
            "CREATE EVENT TRIGGER stray ON ddl_command_start EXECUTE FUNCTION public.stray()",
        ],
        &["DROP EVENT TRIGGER stray", "DROP FUNCTION public.stray()"],
    ),
    Breakage::sql(
        "logical-replication",
        "publication stray",
        &["CREATE PUBLICATION stray FOR TABLE data.conversations"],
        &["DROP PUBLICATION stray"],
    ),
    Breakage::sql(
        "large-objects",
        "large object 4711 of postgres",
        &["SELECT lo_create(4711)"],
        &["SELECT lo_unlink(4711)"],
    ),
    Breakage {
        service: "identity",
        ..Breakage::sql(
            "audit-chains",
            "person 01890a5d-ac96-774b-bcce-b302099a8057: event 1",
            &[
                "SET session_replication_role = replica",
                "INSERT INTO identity.security_audit_log (user_id, number, event, refused, occurred_at, digest)
                 VALUES ('01890a5d-ac96-774b-bcce-b302099a8057', 1, 'sign_in', false, now(), sha256('stray'))",
                "RESET session_replication_role",
            ],
            &["DELETE FROM identity.security_audit_log"],
        )
    },
];
