//! Breakages of roles and their settings.

use super::super::breakage::Breakage;

pub(in super::super) const ROLES: &[Breakage] = &[
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
        "replication-roles",
        "role haven_backup",
        &["ALTER ROLE haven_backup REPLICATION"],
        &["ALTER ROLE haven_backup NOREPLICATION"],
    ),
    Breakage::sql(
        "memberships",
        "role haven_backup is a member of pg_monitor",
        &["GRANT pg_monitor TO haven_backup"],
        &["REVOKE pg_monitor FROM haven_backup"],
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
        "login-settings",
        "role data_app sets default_transaction_read_only to on",
        &[
            "SET ROLE data_app",
            "ALTER ROLE CURRENT_USER SET default_transaction_read_only = on",
            "RESET ROLE",
        ],
        &["ALTER ROLE data_app RESET default_transaction_read_only"],
    ),
    Breakage::sql(
        "login-settings",
        "role data_worker in database haven sets enable_indexscan to off",
        &["ALTER ROLE data_worker IN DATABASE haven SET enable_indexscan = off"],
        &["ALTER ROLE data_worker IN DATABASE haven RESET enable_indexscan"],
    ),
    Breakage::sql(
        "login-settings",
        "role data_app sets lock_timeout to 1",
        &["ALTER ROLE data_app SET lock_timeout = 1"],
        &["ALTER ROLE data_app SET lock_timeout = '5s'"],
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
