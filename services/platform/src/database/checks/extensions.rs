//! Checks of what can reach out of the database: extensions, libraries, foreign data, logical replication.

use super::{
    Check,
    Environments::Every,
    Sight::{Anyone, Settings},
};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "extensions",
        title: "only known, harmless extensions are installed",
        meaning: "dblink and postgres_fdw open connections, file_fdw and adminpack read files, untrusted languages do anything.",
        remedy: "DROP EXTENSION …",
        sight: Anyone,
        fails_in: Every,
        // The second line has what hosted platforms install, and the third tools of operators that show no row's content.
        sql: "SELECT format('extension %s', e.extname) FROM pg_extension e
               WHERE e.extname NOT IN ('plpgsql', 'pg_stat_statements', 'pgaudit',
                     'pgcrypto', 'uuid-ossp', 'citext', 'rds_tools', 'google_vacuum_mgmt', 'azure', 'pgaadauth', 'supabase_vault',
                     'pg_buffercache', 'pg_prewarm', 'pg_wait_sampling', 'pgstattuple', 'amcheck', 'pg_visibility', 'hypopg')",
    },
    Check {
        name: "preloaded-libraries",
        title: "the server loads known libraries only",
        meaning: "A library is code inside of the server, which sees every password and every row.",
        remedy: "remove it from shared_preload_libraries, session_preload_libraries or local_preload_libraries",
        sight: Settings,
        fails_in: Every,
        sql: "SELECT format('%s in %s', btrim(library, ' \"'), name)
                FROM (VALUES ('shared_preload_libraries'), ('session_preload_libraries'), ('local_preload_libraries')) AS list (name),
                     regexp_split_to_table(current_setting(list.name), ',') AS library
               WHERE btrim(library, ' \"') NOT IN ('', 'pg_stat_statements', 'pgaudit', 'auto_explain', 'pg_prewarm',
                     'pg_wait_sampling', 'rdsutils', 'pg_failover_slots', 'supautils', 'pgaudit_ext', 'google_db_advisor', 'azure')",
    },
    Check {
        name: "foreign-data",
        title: "the database reaches no other server",
        meaning: "A foreign server is a way out for rows, and its user mappings hold passwords.",
        remedy: "DROP SERVER … CASCADE",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('server %I', s.srvname) FROM pg_foreign_server s",
    },
    Check {
        name: "event-triggers",
        title: "there are no event triggers but those of extensions",
        meaning: "An event trigger runs with the rights of the role that migrates, and can undo what a migration does.",
        remedy: "DROP EVENT TRIGGER …",
        sight: Anyone,
        fails_in: Every,
        // Hosted platforms have the ones that are named here.
        sql: "SELECT format('event trigger %I', t.evtname) FROM pg_event_trigger t
               WHERE t.evtname NOT IN ('issue_graphql_placeholder', 'issue_pg_cron_access', 'issue_pg_graphql_access',
                                       'issue_pg_net_access', 'pgrst_ddl_watch', 'pgrst_drop_watch')
                 AND NOT EXISTS (SELECT FROM pg_depend d
                                  WHERE d.classid = 'pg_event_trigger'::regclass AND d.objid = t.oid AND d.deptype = 'e')",
    },
    Check {
        name: "logical-replication",
        title: "no publication and no subscription copies rows",
        meaning: "Row Level Security does not apply to what is published, and erased rows stay in the copy.",
        remedy: "DROP PUBLICATION …, DROP SUBSCRIPTION …",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('publication %I', p.pubname) FROM pg_publication p
              UNION ALL
              SELECT format('subscription %I', s.subname) FROM pg_subscription s",
    },
    Check {
        name: "large-objects",
        title: "there are no large objects",
        meaning: "No policy applies to a large object.",
        remedy: "SELECT lo_unlink(…)",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('large object %s of %s', l.oid, l.lomowner::regrole) FROM pg_largeobject_metadata l",
    },
];
