//! Checks of connections: TLS, `pg_hba.conf`, and how passwords are stored.

use super::{
    Check,
    Environments::Every,
    Sight::{Anyone, Settings, Superuser},
};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "worker-login",
        title: "this program is logged in as the service's worker",
        meaning: "Another login has other rights and limits than the ones that were declared for the service's work.",
        remedy: "set WORKER_DATABASE_URL to the URL of {schema}_worker",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('the login is %s', session_user) WHERE session_user <> '{schema}_worker'",
    },
    Check {
        name: "tls-in-use",
        title: "this program's connection is encrypted, with TLS 1.2 or newer",
        meaning: "Without TLS, everything that people write crosses the network in plain text.",
        remedy: "set sslmode=verify-full in the URL; behind a pooler, server_tls_sslmode of the pooler",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT CASE WHEN s.ssl THEN format('the connection uses %s', s.version) ELSE 'the connection is not encrypted' END
                FROM pg_stat_ssl s
               WHERE s.pid = pg_backend_pid() AND (NOT s.ssl OR s.version NOT IN ('TLSv1.2', 'TLSv1.3'))",
    },
    Check {
        name: "tls-on",
        title: "the server accepts TLS",
        meaning: "A server without TLS can only be reached in plain text.",
        remedy: "set ssl = on, ssl_cert_file and ssl_key_file",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT 'ssl is off' WHERE current_setting('ssl') <> 'on'",
    },
    Check {
        name: "tls-version",
        title: "the server refuses TLS older than 1.2",
        meaning: "TLS 1.0 and 1.1 are broken, and a client can be made to use the oldest version that both sides accept.",
        remedy: "ALTER SYSTEM SET ssl_min_protocol_version = 'TLSv1.2'",
        sight: Settings,
        fails_in: Every,
        sql: "SELECT format('ssl_min_protocol_version is %s', coalesce(nullif(current_setting('ssl_min_protocol_version'), ''), 'not set'))
               WHERE current_setting('ssl_min_protocol_version') NOT IN ('TLSv1.2', 'TLSv1.3')",
    },
    Check {
        name: "password-encryption",
        title: "new passwords are stored as SCRAM verifiers",
        meaning: "MD5 verifiers are as good as the password itself, and are refused in FIPS mode.",
        remedy: "ALTER SYSTEM SET password_encryption = 'scram-sha-256'; ALTER ROLE … RESET password_encryption",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('password_encryption is %s (%s)', value, place)
                FROM {settings} WHERE name = 'password_encryption' AND value <> 'scram-sha-256'",
    },
    Check {
        name: "hba-valid",
        title: "pg_hba.conf has no error",
        meaning: "A file with an error is not loaded: the server goes on with the rules that it had, and does not restart.",
        remedy: "correct the line",
        sight: Superuser,
        fails_in: Every,
        sql: "SELECT format('line %s: %s', h.line_number, h.error) FROM pg_hba_file_rules h WHERE h.error IS NOT NULL",
    },
    Check {
        name: "hba-tls",
        title: "pg_hba.conf accepts no connection over the network without TLS",
        meaning: "A line `host` also accepts plain text, and every machine in between can then read all data.",
        remedy: "write hostssl in place of host, or put `hostnossl all,replication all all reject` first",
        sight: Superuser,
        fails_in: Every,
        sql: "SELECT format('line %s: %s %s %s %s %s', h.line_number, h.type, array_to_string(h.database, ','),
                            array_to_string(h.user_name, ','), h.address, h.auth_method)
                FROM {hba} AS h
               WHERE h.type IN ('host', 'hostnossl', 'hostnogssenc') AND h.auth_method <> 'reject'
                 -- The name all does not include replication.
                 AND EXISTS (SELECT FROM unnest(h.database) AS name
                              WHERE NOT EXISTS (SELECT FROM {hba} AS r
                                                 WHERE r.number < h.number AND r.type IN ('hostnossl', 'host')
                                                   AND r.auth_method = 'reject' AND r.user_name = '{all}' AND r.address = 'all'
                                                   AND CASE name WHEN 'replication' THEN 'replication' ELSE 'all' END
                                                       = ANY (r.database)))",
    },
    Check {
        name: "hba-methods",
        title: "pg_hba.conf requires a SCRAM password or a client certificate",
        meaning: "`trust` asks for nothing, `ident` believes the client, `password` sends the password itself, and `md5` is broken.",
        remedy: "write scram-sha-256, or cert, as the method",
        sight: Superuser,
        fails_in: Every,
        sql: "SELECT format('line %s: %s %s %s', h.line_number, h.type, array_to_string(h.user_name, ','), h.auth_method)
                FROM {hba} AS h
               WHERE h.auth_method NOT IN ('scram-sha-256', 'cert', 'gss', 'oauth', 'reject')
                 AND NOT (h.type = 'local' AND h.auth_method = 'peer')",
    },
    Check {
        name: "hba-addresses",
        title: "pg_hba.conf lists the addresses that may connect with a password",
        meaning: "From any address, a password can be guessed, and a stolen one be used.",
        remedy: "name the networks of the services, their pooler and the standbys",
        sight: Superuser,
        fails_in: Every,
        sql: "SELECT format('line %s: %s %s %s', h.line_number, h.type, array_to_string(h.user_name, ','), h.address)
                FROM {hba} AS h
               WHERE h.type <> 'local' AND h.auth_method NOT IN ('reject', 'cert')
                 AND (h.address = 'all' OR h.netmask IN ('0.0.0.0', '::'))",
    },
    Check {
        name: "hba-superuser",
        title: "the superuser logs in from the server itself only",
        meaning: "Its password alone is then of no use from another machine.",
        remedy: "name the logins in place of all; let the superuser in from 127.0.0.1 or over the socket, through a tunnel",
        sight: Superuser,
        fails_in: Every,
        sql: "SELECT format('line %s: %s %s %s', h.line_number, h.type, array_to_string(h.user_name, ','), h.address)
                FROM {hba} AS h
               WHERE h.type <> 'local' AND h.auth_method NOT IN ('reject', 'cert')
                 AND (h.user_name && ARRAY['all', (SELECT r.rolname::text FROM pg_roles r WHERE r.oid = 10)]
                      -- A regular expression, since Postgres 16.
                      OR EXISTS (SELECT FROM unnest(h.user_name) AS name WHERE name LIKE '/%'))
                 AND h.database <> '{replication}'
                 AND h.address NOT LIKE '127.%' AND h.address NOT IN ('::1', 'localhost')",
    },
];
