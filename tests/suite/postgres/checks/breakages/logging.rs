//! Breakages of the log and the statistics.

use super::super::breakage::{Breakage, Change};

pub(in super::super) const LOGGING: &[Breakage] = &[
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
