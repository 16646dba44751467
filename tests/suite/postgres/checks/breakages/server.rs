//! Breakages of the server and its extensions.

use super::super::breakage::Breakage;

pub(in super::super) const SERVER: &[Breakage] = &[
    Breakage::sql(
        "schema-version",
        "schema data has version",
        &[
            "UPDATE data._sqlx_migrations SET success = false
              WHERE version = (SELECT max(version) FROM data._sqlx_migrations)",
        ],
        &["UPDATE data._sqlx_migrations SET success = true"],
    ),
    Breakage::sql(
        "program-version",
        "schema data allows programs for 99990101000000 or newer",
        &[
            "INSERT INTO data._sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (99990101000000, 'newer', true, '', 1)",
            "CREATE OR REPLACE FUNCTION data.oldest_binary() RETURNS bigint LANGUAGE sql IMMUTABLE SET search_path = ''
             RETURN 99990101000000",
        ],
        &[
            "DELETE FROM data._sqlx_migrations WHERE version = 99990101000000",
            "CREATE OR REPLACE FUNCTION data.oldest_binary() RETURNS bigint LANGUAGE sql IMMUTABLE SET search_path = ''
             RETURN 20261129000100",
        ],
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
