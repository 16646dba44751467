//! Checks of roles: attributes, memberships, and who else may log in.

use super::{
    Check,
    Environments::{Every, Production},
    Sight::{Anyone, Superuser},
};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "superusers",
        title: "the only superuser is the one that the cluster was created with",
        meaning: "A superuser bypasses every policy and reads the server's files.",
        remedy: "ALTER ROLE … NOSUPERUSER",
        sight: Anyone,
        fails_in: Every,
        // The superuser of initdb has this id.
        sql: "SELECT format('role %s', r.rolname) FROM pg_roles r WHERE r.rolsuper AND r.oid <> 10",
    },
    Check {
        name: "bypass-row-security",
        title: "no role has BYPASSRLS",
        meaning: "No policy applies to such a role, so it reads every person's rows.",
        remedy: "ALTER ROLE … NOBYPASSRLS",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('role %s', r.rolname) FROM pg_roles r WHERE r.rolbypassrls AND NOT r.rolsuper",
    },
    Check {
        name: "replication-roles",
        title: "only streaming_replica, the login of standbys, may replicate",
        meaning: "Replication copies all files of the cluster, past every policy.",
        remedy: "ALTER ROLE … NOREPLICATION",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('role %s', r.rolname) FROM pg_roles r
               WHERE r.rolreplication AND NOT r.rolsuper AND r.rolname <> 'streaming_replica'",
    },
    Check {
        name: "role-creators",
        title: "only the database's owner may create roles or databases",
        meaning: "Up to Postgres 15, a login with CREATEROLE can make itself a member of any role that is not a superuser.",
        remedy: "ALTER ROLE … NOCREATEROLE NOCREATEDB",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('role %s has %s', r.rolname,
                            concat_ws(' and ', CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END,
                                               CASE WHEN r.rolcreatedb THEN 'CREATEDB' END))
                FROM pg_roles r
               WHERE (r.rolcreaterole OR r.rolcreatedb) AND NOT r.rolsuper
                 AND r.oid <> (SELECT d.datdba FROM pg_database d WHERE d.datname = current_database())",
    },
    Check {
        name: "declared-roles",
        title: "Haven's roles exist, with LOGIN and INHERIT as declared",
        meaning: "A role of requests that can log in needs no service; with INHERIT a login has all rights without SET ROLE.",
        remedy: "compare the role with migrations/cluster/0001_roles.sql, and ALTER ROLE …",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT CASE WHEN r.rolname IS NULL THEN format('role %s does not exist', declared.name)
                          ELSE format('role %s has %s and %s', r.rolname,
                                      CASE WHEN r.rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END,
                                      CASE WHEN r.rolinherit THEN 'INHERIT' ELSE 'NOINHERIT' END) END
                FROM {declared} LEFT JOIN pg_roles r ON r.rolname = declared.name
               WHERE r.rolname IS NULL OR r.rolcanlogin <> declared.login OR r.rolinherit <> declared.inherit",
    },
    Check {
        name: "memberships",
        title: "Haven's roles are members of each other as declared, and no other role is a member",
        meaning: "A login becomes each role that it is a member of: a person's request could become the service.",
        remedy: "REVOKE … FROM …; compare with migrations/cluster/0001_roles.sql",
        sight: Anyone,
        fails_in: Every,
        // Since Postgres 16, the admin that created a role may administer it, and can neither become it nor use its rights.
        sql: "SELECT format('role %s is a member of %s%s', m.member::regrole, m.roleid::regrole,
                            CASE WHEN m.admin_option THEN ' and may pass that on'
                                 WHEN kind.declared THEN ' and has its rights without SET ROLE' END)
                FROM pg_auth_members m,
                     LATERAL (SELECT (m.member::regrole::text, m.roleid::regrole::text) IN (
                                  ('identity_app', 'identity_anon'), ('identity_app', 'identity_user'),
                                  ('identity_worker', 'identity_service'), ('data_app', 'data_anon'),
                                  ('data_app', 'data_user'), ('data_worker', 'data_service'),
                                  ('haven_monitor', 'pg_monitor'), ('haven_backup', 'pg_read_all_settings')) AS declared,
                                     coalesce((to_jsonb(m) ->> 'set_option')::bool, true) AS becomes,
                                     coalesce((to_jsonb(m) ->> 'inherit_option')::bool, false) AS inherits) AS kind
               WHERE (m.member::regrole::text IN (SELECT declared.name FROM {declared})
                      OR m.roleid::regrole::text IN (SELECT declared.name FROM {declared}))
                 AND m.roleid::regrole::text NOT IN ('pg_execute_server_program', 'pg_read_server_files',
                                                     'pg_write_server_files', 'pg_read_all_data', 'pg_write_all_data')
                 AND CASE WHEN kind.declared
                          THEN m.admin_option OR (kind.inherits AND m.member::regrole::text NOT IN ('haven_monitor', 'haven_backup'))
                          ELSE kind.becomes OR kind.inherits
                               OR m.member <> (SELECT d.datdba FROM pg_database d WHERE d.datname = current_database()) END",
    },
    Check {
        name: "predefined-roles",
        title: "no role is a member of a predefined role that reads all rows or the server's files",
        meaning: "pg_read_all_data needs no grant, and pg_execute_server_program is a shell on the server.",
        remedy: "REVOKE … FROM …",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('role %s is a member of %s', m.member::regrole, m.roleid::regrole)
                FROM pg_auth_members m
               WHERE m.roleid::regrole::text IN ('pg_execute_server_program', 'pg_read_server_files',
                                                 'pg_write_server_files', 'pg_read_all_data', 'pg_write_all_data')",
    },
    Check {
        name: "unknown-logins",
        title: "only Haven's logins may connect to the database",
        meaning: "Haven does not know the purpose of any other login that may connect.",
        remedy: "REVOKE CONNECT ON DATABASE … FROM …, or drop the login",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('login %s', r.rolname)
                FROM pg_roles r JOIN pg_database d ON d.datname = current_database()
               WHERE r.rolcanlogin AND NOT r.rolsuper AND r.oid <> d.datdba
                 AND r.rolname NOT IN (SELECT declared.name FROM {declared})
                 AND EXISTS (SELECT FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
                              WHERE a.privilege_type = 'CONNECT' AND a.grantee <> 0
                                AND pg_has_role(r.oid, a.grantee, 'USAGE'))",
    },
    Check {
        name: "role-settings",
        title: "no role or database overrides a setting that protections depend on",
        meaning: "session_replication_role = replica disables triggers and foreign keys; a preloaded library is code in the server.",
        remedy: "ALTER ROLE … RESET …, ALTER DATABASE … RESET …",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('%s sets %s to %s', s.place, s.name, s.value)
                FROM {overrides} AS s
               WHERE s.name IN ('session_replication_role', 'session_preload_libraries', 'local_preload_libraries',
                                'dynamic_library_path', 'role', 'allow_system_table_mods', 'ignore_checksum_failure')
                  OR (s.name = 'pgaudit.log'
                      AND (s.value ~ '(^|[ ,])(none|-ddl|-role|-all)'
                           OR NOT (s.value ~ '(^|[ ,])all' OR (s.value ~ '(^|[ ,])ddl' AND s.value ~ '(^|[ ,])role'))))
                  OR (s.name IN ('pgaudit.log_parameter', 'pgaudit.log_catalog') AND s.value IN ('on', '1'))",
    },
    Check {
        name: "login-settings",
        title: "no login of Haven has a setting that it can have given itself, except the declared ones",
        meaning: "Each login may change its own settings for all of its later sessions: it can make itself useless, or slow.",
        remedy: "run migrations/cluster/0001_roles.sql again, which resets them; find out who used the login",
        sight: Anyone,
        fails_in: Every,
        // Other checks are about the settings that are named here, or about their values.
        sql: "SELECT format('%s sets %s to %s', s.place, s.name, s.value)
                FROM {overrides} AS s
                JOIN pg_roles r ON r.oid = s.role
                JOIN {declared} ON declared.name = r.rolname AND declared.login
                JOIN pg_settings p ON p.name = s.name AND p.context = 'user'
               WHERE s.name NOT IN ('row_security', 'role', 'local_preload_libraries', 'synchronous_commit')
                 AND s.name !~ '^debug_print_'
                 AND CASE s.name
                     WHEN 'search_path' THEN r.rolname IN ('haven_backup', 'haven_monitor')
                     WHEN 'default_transaction_read_only' THEN r.rolname NOT IN ('haven_readonly', 'haven_monitor')
                     WHEN 'statement_timeout' THEN s.value <> ALL (ARRAY['0', '30s', '2h'])
                     WHEN 'lock_timeout' THEN s.value <> ALL (ARRAY['0', '5s', '10s'])
                     WHEN 'idle_in_transaction_session_timeout' THEN s.value <> ALL (ARRAY['0', '15s', '60s'])
                     WHEN 'idle_session_timeout' THEN s.value <> '10min' OR r.rolname !~ '_(owner|readonly|monitor)$'
                     ELSE true END",
    },
    Check {
        name: "search-path",
        title: "the logins have an empty search_path",
        meaning: "With one, a statement that names no schema can be made to mean another object.",
        remedy: "run migrations/cluster/0001_roles.sql again; ALTER ROLE … IN DATABASE … RESET search_path",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('login %s: search_path is %s', r.rolname, coalesce(own.value, 'not set'))
                FROM pg_roles r LEFT JOIN LATERAL (
                     SELECT s.value FROM {overrides} AS s
                      WHERE s.name = 'search_path' AND s.role IN (0, r.oid) AND s.applies
                      ORDER BY s.role <> 0 DESC, s.database <> 0 DESC LIMIT 1) AS own ON true
               WHERE r.rolname IN ('{schema}_owner', '{schema}_app', '{schema}_worker', 'haven_readonly')
                 AND own.value IS DISTINCT FROM '\"\"'",
    },
    Check {
        name: "stored-passwords",
        title: "every stored password is a SCRAM verifier",
        meaning: "A client can log in with a stolen MD5 verifier in place of the password.",
        remedy: "set the password again: \\password …",
        sight: Superuser,
        fails_in: Every,
        sql: "SELECT format('role %s', r.rolname)
                FROM pg_authid r WHERE r.rolpassword IS NOT NULL AND r.rolpassword !~ '^SCRAM-SHA-256\\$'",
    },
    Check {
        name: "read-only-logins",
        title: "haven_readonly and haven_monitor only read",
        meaning: "Tools of operators must not write by mistake.",
        remedy: "run migrations/cluster/0001_roles.sql again",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('login %s: default_transaction_read_only is %s', r.rolname, coalesce(own.value, 'not set'))
                FROM pg_roles r LEFT JOIN LATERAL (
                     SELECT s.value FROM {overrides} AS s
                      WHERE s.name = 'default_transaction_read_only' AND s.role = r.oid AND s.applies
                      ORDER BY s.database <> 0 DESC LIMIT 1) AS own ON true
               WHERE r.rolname IN ('haven_readonly', 'haven_monitor')
                 AND (own.value IS NULL OR own.value NOT IN ('on', 'true', 'yes', '1'))",
    },
    Check {
        name: "connection-limits",
        title: "each login has a connection limit, and all limits together fit",
        meaning: "Without limits one login can take every connection of the server from the others.",
        remedy: "run deploy/postgres/roles.sql; raise max_connections",
        sight: Anyone,
        fails_in: Production,
        sql: "SELECT format('login %s has no connection limit', r.rolname)
                FROM pg_roles r JOIN {declared} ON declared.name = r.rolname AND declared.login
               WHERE r.rolconnlimit < 0
              UNION ALL
              SELECT format('the limits add up to %s, and max_connections is %s', limits.total, current_setting('max_connections'))
                FROM (SELECT sum(r.rolconnlimit) AS total FROM pg_roles r WHERE r.rolcanlogin AND r.rolconnlimit > 0) AS limits
               WHERE limits.total > current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int",
    },
    Check {
        name: "time-limits",
        title: "statements, waits for locks and idle transactions of each login end by themselves",
        meaning: "One statement or transaction without an end blocks vacuum, migrations and other people's requests.",
        remedy: "run migrations/cluster/0001_roles.sql again; ALTER ROLE … IN DATABASE … RESET …",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('login %s: %s is %s', r.rolname, kind.name, coalesce(own.value, 'not set'))
                FROM pg_roles r
                CROSS JOIN (VALUES ('statement_timeout'), ('lock_timeout'), ('idle_in_transaction_session_timeout')) AS kind (name)
                LEFT JOIN LATERAL (
                     SELECT s.value FROM {overrides} AS s
                      WHERE s.name = kind.name AND s.role IN (0, r.oid) AND s.applies
                      ORDER BY s.role <> 0 DESC, s.database <> 0 DESC LIMIT 1) AS own ON true
               WHERE (r.rolname IN ('{schema}_app', '{schema}_worker', 'haven_readonly', 'haven_monitor')
                      -- A migration may take long.
                      OR (r.rolname = '{schema}_owner' AND kind.name <> 'statement_timeout'))
                 AND (own.value IS NULL OR own.value ~ '^ *0+ *[a-z]*$')",
    },
];
