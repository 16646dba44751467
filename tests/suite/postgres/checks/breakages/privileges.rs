//! Breakages of grants, owners, functions and languages.

use super::super::breakage::Breakage;

pub(in super::super) const PRIVILEGES: &[Breakage] = &[
    Breakage::sql(
        "large-object-functions",
        "PUBLIC may execute lo_from_bytea(oid,bytea)",
        &["GRANT EXECUTE ON FUNCTION lo_from_bytea(oid, bytea) TO PUBLIC"],
        &["REVOKE EXECUTE ON FUNCTION lo_from_bytea(oid, bytea) FROM PUBLIC"],
    ),
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
        "backup-functions",
        "haven_monitor may execute pg_switch_wal()",
        &["GRANT EXECUTE ON FUNCTION pg_switch_wal() TO haven_monitor"],
        &["REVOKE EXECUTE ON FUNCTION pg_switch_wal() FROM haven_monitor"],
    ),
    Breakage::sql(
        "backup-functions",
        "PUBLIC may execute pg_backup_start(text,boolean)",
        &["GRANT EXECUTE ON FUNCTION pg_backup_start(text, boolean) TO PUBLIC"],
        &["REVOKE EXECUTE ON FUNCTION pg_backup_start(text, boolean) FROM PUBLIC"],
    ),
    Breakage::sql(
        "backup-functions",
        "haven_backup may execute pg_read_file(text)",
        &["GRANT EXECUTE ON FUNCTION pg_read_file(text) TO haven_backup"],
        &["REVOKE EXECUTE ON FUNCTION pg_read_file(text) FROM haven_backup"],
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
