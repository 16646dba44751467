//! Checks of what the server's log and statistics keep: no person's data and no password, but every change of the rules.

use super::{
    Check,
    Environments::{Every, Production},
    Sight::Anyone,
};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "log-statements",
        title: "the log has no statements",
        meaning: "Statements hold literals, such as the password in ALTER ROLE … PASSWORD.",
        remedy: "ALTER SYSTEM SET log_statement = 'none'; ALTER ROLE … RESET log_statement. pgaudit records changes of objects",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('log_statement is %s (%s)', value, place)
                FROM {settings} WHERE name = 'log_statement' AND value <> 'none'",
    },
    Check {
        name: "log-slow-statements",
        title: "the log has no slow or sampled statements",
        meaning: "They are logged with their text, and with their parameters, which are people's data.",
        remedy: "ALTER SYSTEM RESET …; use pg_stat_statements, which keeps no values",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('%s is %s (%s)', name, value, place)
                FROM {settings}
               WHERE (name IN ('log_min_duration_statement', 'log_min_duration_sample') AND value !~ '^-')
                  OR (name = 'log_transaction_sample_rate' AND value <> '0')",
    },
    Check {
        name: "log-parameters",
        title: "the log has no parameters of statements",
        meaning: "The parameters of Haven's statements are people's data.",
        remedy: "ALTER SYSTEM SET log_parameter_max_length = 0, and log_parameter_max_length_on_error = 0",
        sight: Anyone,
        fails_in: Production,
        sql: "SELECT format('%s is %s (%s)', name, value, place)
                FROM {settings}
               WHERE name IN ('log_parameter_max_length', 'log_parameter_max_length_on_error') AND value !~ '^ *0'",
    },
    Check {
        name: "log-error-details",
        title: "the log has no details of errors",
        meaning: "Details quote rows, as in: Key (email)=(…) already exists.",
        remedy: "ALTER SYSTEM SET log_error_verbosity = 'terse'",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('log_error_verbosity is %s (%s)', value, place)
                FROM {settings} WHERE name = 'log_error_verbosity' AND value <> 'terse'",
    },
    Check {
        name: "log-failing-statements",
        title: "the log has no text of a failing statement",
        meaning: "A mistyped ALTER ROLE … PASSWORD is logged with the password.",
        remedy: "ALTER SYSTEM SET log_min_error_statement = 'panic'",
        sight: Anyone,
        fails_in: Production,
        sql: "SELECT format('log_min_error_statement is %s (%s)', value, place)
                FROM {settings} WHERE name = 'log_min_error_statement' AND value NOT IN ('panic', 'fatal')",
    },
    Check {
        name: "log-plans",
        title: "the log has no parse trees and no plans",
        meaning: "They hold the constants of a statement.",
        remedy: "ALTER SYSTEM RESET debug_print_…",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('%s is %s (%s)', name, value, place)
                FROM {settings}
               WHERE name IN ('debug_print_parse', 'debug_print_rewritten', 'debug_print_plan', 'debug_print_raw_parse')
                 AND value IN ('on', 'true', 'yes', '1')",
    },
    Check {
        name: "auto-explain",
        title: "auto_explain logs no plan",
        meaning: "Its plans show bound values in the filters of custom plans, even where parameters are not logged.",
        remedy: "remove auto_explain from the preloaded libraries, or set auto_explain.log_min_duration = -1",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('auto_explain.log_min_duration is %s (%s)', value, place)
                FROM {settings} WHERE name = 'auto_explain.log_min_duration' AND value !~ '^-'",
    },
    Check {
        name: "pgaudit-parameters",
        title: "the audit log has no parameters and no rows",
        meaning: "A statement's parameters are a person's data.",
        remedy: "ALTER SYSTEM SET pgaudit.log_parameter = off",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('%s is %s (%s)', name, value, place)
                FROM {settings} WHERE name = 'pgaudit.log_parameter' AND value IN ('on', 'true', 'yes', '1')",
    },
    Check {
        name: "changes-recorded",
        title: "pgaudit records changes of objects and roles",
        meaning: "Without it, nothing tells when a policy was dropped, or a right was granted.",
        remedy: "load pgaudit with shared_preload_libraries, and set pgaudit.log = 'ddl, role'",
        sight: Anyone,
        fails_in: Production,
        sql: "SELECT coalesce('pgaudit.log is ' || p.setting, 'pgaudit is not loaded')
                FROM (SELECT 1) AS one LEFT JOIN pg_settings p ON p.name = 'pgaudit.log'
               WHERE p.setting IS NULL OR p.setting ~ '(^|[ ,])(none|-ddl|-role|-all)'
                  OR NOT (p.setting ~ '(^|[ ,])all' OR (p.setting ~ '(^|[ ,])ddl' AND p.setting ~ '(^|[ ,])role'))",
    },
    Check {
        name: "connections-recorded",
        title: "the log has connections and disconnections",
        meaning: "They tell who was connected from where at the time of an incident.",
        remedy: "ALTER SYSTEM SET log_connections = on, and log_disconnections = on",
        sight: Anyone,
        fails_in: Production,
        sql: "SELECT format('%s is %s (%s)', name, value, place)
                FROM {settings}
               WHERE name IN ('log_connections', 'log_disconnections') AND value IN ('off', 'false', 'no', '0', '')",
    },
    Check {
        name: "statistics-without-literals",
        title: "statement statistics have no utility statements",
        meaning: "They are kept with their literals, such as the password in ALTER ROLE … PASSWORD.",
        remedy: "ALTER SYSTEM SET pg_stat_statements.track_utility = off, and SELECT pg_stat_statements_reset()",
        sight: Anyone,
        fails_in: Production,
        sql: "SELECT format('%s is %s (%s)', name, value, place)
                FROM {settings}
               WHERE name = 'pg_stat_statements.track_utility' AND value IN ('on', 'true', 'yes', '1')",
    },
    Check {
        name: "statistics-readers",
        title: "the services' logins cannot read statement statistics",
        meaning: "They show the statements of every login.",
        remedy: "REVOKE USAGE ON SCHEMA … FROM …",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('role %s reads %s', r.rolname, c.oid::regclass)
                FROM pg_class c JOIN pg_roles r ON r.rolname ~ '^({schema}_|haven_(readonly|backup)$)'
               WHERE c.relname IN ('pg_stat_statements', 'pg_stat_statements_info') AND c.relkind = 'v'
                 AND has_schema_privilege(r.oid, c.relnamespace, 'USAGE') AND has_table_privilege(r.oid, c.oid, 'SELECT')",
    },
];
