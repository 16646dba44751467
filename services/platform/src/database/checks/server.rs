//! Checks of the server itself: what makes acknowledged writes last, its archive, its slots, its settings.

use super::{
    Check,
    Environments::{Every, Production},
    Sight::{Anyone, Settings},
};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "schema-version",
        title: "the schema has the version that this program needs, or a newer one",
        meaning: "The service refuses to serve from an older version.",
        remedy: "run `migrate` of this program",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('schema {schema} has version %s, and the program needs {newest}', version)
                FROM {schema}.schema_version() AS version WHERE version < {newest}",
    },
    Check {
        name: "program-version",
        title: "the schema allows programs of this version",
        meaning: "The service refuses to serve from a schema with a migration that does not allow it.",
        remedy: "run a newer program; or revert the schema with the newer program's `migrate --undo-to {newest}`",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('schema {schema} allows programs for %s or newer, and this program is for {newest}', oldest)
                FROM {schema}.schema_version() AS version, {schema}.oldest_binary() AS oldest
               WHERE version > {newest} AND oldest > {newest}",
    },
    Check {
        name: "durability",
        title: "an acknowledged write survives a crash",
        meaning: "Without fsync and full_page_writes a power failure breaks the files; without synchronous_commit it loses writes.",
        remedy: "ALTER SYSTEM RESET …, ALTER ROLE … RESET …",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('%s is %s (%s)', name, value, place)
                FROM {settings}
               WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND value IN ('off', 'false', 'no', '0')",
    },
    Check {
        name: "data-checksums",
        title: "pages have checksums",
        meaning: "Without them, a disk's fault is returned as data, and copied to every backup.",
        remedy: "stop the server, and run pg_checksums --enable",
        sight: Anyone,
        fails_in: Production,
        sql: "SELECT 'data_checksums is off' WHERE current_setting('data_checksums') <> 'on'",
    },
    Check {
        name: "unsafe-settings",
        title: "no developer setting is on",
        meaning: "They let a role change the catalog, ignore damage, or skip triggers.",
        remedy: "ALTER SYSTEM RESET …",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('%s is %s', p.name, p.setting)
                FROM pg_settings p
               WHERE (p.name IN ('allow_system_table_mods', 'ignore_checksum_failure', 'ignore_invalid_pages',
                                 'ignore_system_indexes', 'zero_damaged_pages', 'lo_compat_privileges', 'db_user_namespace')
                      AND p.setting = 'on')
                  OR (p.name IN ('standard_conforming_strings', 'array_nulls') AND p.setting = 'off')
                  OR (p.name = 'session_replication_role' AND p.setting <> 'origin')
                  OR (p.name = 'backslash_quote' AND p.setting = 'on')",
    },
    Check {
        name: "settings-applied",
        title: "every changed setting is in force",
        meaning: "A setting that waits for a restart is not what the configuration says.",
        remedy: "restart the server",
        sight: Settings,
        fails_in: Every,
        // A setting on the command line overrides the files, so that what they say is not waited for.
        sql: "SELECT format('%s waits for a restart', p.name)
                FROM pg_settings p WHERE p.pending_restart AND p.source <> 'command line'
                 -- pg_settings leaves out what a login may not see, and reading it is an error.
                 AND current_setting('shared_preload_libraries') IS NOT NULL",
    },
    Check {
        name: "archiving",
        title: "the write-ahead log is archived",
        meaning: "Without the archive, a restore loses everything since the last backup, and a failing one fills the disk.",
        remedy: "set archive_mode and archive_command; read the server's log for the command's error",
        sight: Anyone,
        fails_in: Production,
        sql: "SELECT 'archive_mode is off' WHERE current_setting('archive_mode') = 'off'
              UNION ALL
              SELECT 'archive_command and archive_library are empty'
               WHERE current_setting('archive_mode') <> 'off' AND current_setting('archive_command') = ''
                 AND current_setting('archive_library') = ''
              UNION ALL
              SELECT format('%s failed at %s, and nothing was archived since', a.last_failed_wal, a.last_failed_time)
                FROM pg_stat_archiver a
               WHERE a.last_failed_time > coalesce(a.last_archived_time, '-infinity')
              UNION ALL
              SELECT 'nothing has been archived yet'
                FROM pg_stat_archiver a
               WHERE current_setting('archive_mode') <> 'off' AND a.last_archived_time IS NULL AND a.last_failed_time IS NULL",
    },
    Check {
        name: "replication-slots",
        title: "every replication slot is in use",
        meaning: "An unused slot keeps the write-ahead log until the disk is full; a lost one means a standby without data.",
        remedy: "start its standby, or SELECT pg_drop_replication_slot(…)",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('slot %s is %s', s.slot_name,
                            concat_ws(', ', CASE WHEN NOT s.active THEN 'inactive' END,
                                            CASE WHEN s.wal_status IN ('unreserved', 'lost') THEN s.wal_status END))
                FROM pg_replication_slots s
               WHERE NOT s.active OR s.wal_status IN ('unreserved', 'lost')",
    },
    Check {
        name: "prepared-transactions",
        title: "no transaction is left prepared",
        meaning: "It keeps its locks, and keeps vacuum from removing erased rows, also after a restart. Haven prepares none.",
        remedy: "ROLLBACK PREPARED …",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('transaction %s of %s since %s', x.gid, x.owner, x.prepared) FROM pg_prepared_xacts x",
    },
];
