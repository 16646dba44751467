//! The settings that the files give to a running server.

use std::collections::BTreeMap;

use haven_testkit::workspace;
use sqlx::Row;

use super::shared;

/// The settings that security depends on, as `pg_settings` shows them. Each has to be in the file, also where it is the
/// default, so that neither a distribution's file nor a later version changes it.
const SECURITY: [(&str, &str); 47] = [
    ("archive_mode", "on"),
    ("authentication_timeout", "10"),
    ("client_connection_check_interval", "10000"),
    ("debug_print_parse", "off"),
    ("debug_print_plan", "off"),
    ("debug_print_rewritten", "off"),
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("idle_in_transaction_session_timeout", "60000"),
    ("lock_timeout", "10000"),
    ("log_autovacuum_min_duration", "10000"),
    ("log_connections", "on"),
    ("log_destination", "stderr"),
    ("log_disconnections", "on"),
    ("log_duration", "off"),
    ("log_error_verbosity", "terse"),
    ("log_hostname", "off"),
    ("log_line_prefix", "%m [%p] %q%u@%d %h "),
    ("log_lock_waits", "on"),
    ("log_min_duration_sample", "-1"),
    ("log_min_duration_statement", "-1"),
    ("log_min_error_statement", "panic"),
    ("log_min_messages", "warning"),
    ("log_parameter_max_length", "0"),
    ("log_parameter_max_length_on_error", "0"),
    ("log_replication_commands", "on"),
    ("log_statement", "none"),
    ("log_transaction_sample_rate", "0"),
    ("password_encryption", "scram-sha-256"),
    ("pg_stat_statements.track", "top"),
    ("pg_stat_statements.track_utility", "off"),
    ("pgaudit.log", "ddl, role"),
    ("pgaudit.log_catalog", "off"),
    ("pgaudit.log_parameter", "off"),
    ("pgaudit.log_relation", "off"),
    ("pgaudit.log_statement", "on"),
    ("pgaudit.log_statement_once", "off"),
    ("pgaudit.role", "haven_audit"),
    ("row_security", "on"),
    ("shared_preload_libraries", "pg_stat_statements,pgaudit"),
    ("ssl", "on"),
    ("ssl_ciphers", "ECDHE+AESGCM:ECDHE+CHACHA20"),
    ("ssl_min_protocol_version", "TLSv1.2"),
    ("statement_timeout", "60000"),
    ("synchronous_commit", "on"),
    ("tcp_user_timeout", "30000"),
    ("wal_level", "replica"),
];

/// What a test server does differently, beside its port and its addresses, so that it is fast.
const OVERRIDDEN: [&str; 2] = ["fsync", "full_page_writes"];

#[tokio::test]
async fn every_line_of_the_configuration_is_applied() {
    let Some(stack) = shared().await else { return };
    let mut superuser = stack.database.connect("postgres").await.unwrap();
    let errors = "SELECT coalesce(string_agg(concat_ws(' ', name, error), ', '), '') FROM pg_file_settings
                  WHERE error IS NOT NULL AND name NOT IN ('listen_addresses')";
    let errors: String = sqlx::query_scalar(errors)
        .fetch_one(&mut superuser)
        .await
        .unwrap();
    assert_eq!(errors, "");
    let errors =
        "SELECT coalesce(string_agg(concat_ws(' ', line_number, error), ', '), '') FROM pg_hba_file_rules
                  WHERE error IS NOT NULL";
    let errors: String = sqlx::query_scalar(errors)
        .fetch_one(&mut superuser)
        .await
        .unwrap();
    assert_eq!(errors, "");
}

#[tokio::test]
async fn every_setting_that_security_depends_on_is_in_the_file() {
    let Some(stack) = shared().await else { return };
    let mut superuser = stack.database.connect("postgres").await.unwrap();
    // The superuser has no settings of its own.
    let settings = "SELECT name, setting, source FROM pg_settings";
    let rows = sqlx::query(settings).fetch_all(&mut superuser).await.unwrap();
    let settings: BTreeMap<String, (String, String)> = rows
        .iter()
        .map(|row| (row.get("name"), (row.get("setting"), row.get("source"))))
        .collect();
    for (name, expected) in SECURITY {
        if OVERRIDDEN.contains(&name) {
            continue;
        }
        let (setting, source) = &settings[name];
        assert_eq!(
            (setting.as_str(), source.as_str()),
            (expected, "configuration file"),
            "{name}"
        );
    }
    // The overridden ones are at least in the file.
    let file = workspace::root().join("deploy/postgres/postgresql.conf");
    let file = std::fs::read_to_string(file).unwrap();
    for name in OVERRIDDEN {
        assert!(file.contains(&format!("\n{name} = on\n")), "{name}");
    }
}

#[tokio::test]
async fn auto_explain_is_not_loaded() {
    let Some(stack) = shared().await else { return };
    let mut superuser = stack.database.connect("postgres").await.unwrap();
    let loaded = "SELECT concat_ws(',', current_setting('shared_preload_libraries'),
        current_setting('session_preload_libraries'), current_setting('local_preload_libraries'))";
    let loaded: String = sqlx::query_scalar(loaded)
        .fetch_one(&mut superuser)
        .await
        .unwrap();
    assert!(!loaded.contains("auto_explain"), "{loaded}");
}
