//! Checks of functions that run with other rights than their caller's, or outside of the database's rules.

use super::{Check, Environments::Every, Sight::Anyone};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "definer-search-path",
        title: "every SECURITY DEFINER function has an empty search_path",
        meaning: "With a search_path of its caller's, the function can be made to use the caller's objects, as its owner.",
        remedy: "ALTER FUNCTION … SET search_path = ''",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('function %s: %s', p.oid::regprocedure,
                            coalesce((SELECT c FROM unnest(p.proconfig) c WHERE c LIKE 'search_path=%'), 'search_path is not set'))
                FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
               WHERE p.prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema')
                 AND NOT 'search_path=\"\"' = ANY (coalesce(p.proconfig, '{}'))
                 AND NOT EXISTS (SELECT FROM pg_depend d
                                  WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')",
    },
    Check {
        name: "definer-owner",
        title: "every SECURITY DEFINER function belongs to the schema's owner, and elsewhere to no superuser",
        meaning: "It runs with all rights of its owner; one that belongs to a superuser can do everything.",
        remedy: "ALTER FUNCTION … OWNER TO {schema}_owner",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('function %s belongs to %s', p.oid::regprocedure, p.proowner::regrole)
                FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_roles r ON r.oid = p.proowner
               WHERE p.prosecdef
                 AND CASE WHEN n.nspname = '{schema}' THEN r.rolname <> '{schema}_owner'
                          ELSE n.nspname NOT IN ('pg_catalog', 'information_schema') AND (r.rolsuper OR r.rolbypassrls) END
                 AND NOT EXISTS (SELECT FROM pg_depend d
                                  WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')",
    },
    Check {
        name: "native-functions",
        title: "no function outside of extensions is native code",
        meaning: "A function in C runs inside of the server, with access to all of its memory and files.",
        remedy: "DROP FUNCTION …",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('function %s', p.oid::regprocedure)
                FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang JOIN pg_namespace n ON n.oid = p.pronamespace
               WHERE l.lanname IN ('c', 'internal') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
                 AND NOT EXISTS (SELECT FROM pg_depend d
                                  WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')",
    },
    Check {
        name: "languages",
        title: "no untrusted language is installed",
        meaning: "A function in an untrusted language reads and writes files and opens sockets as the server.",
        remedy: "DROP EXTENSION …",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('language %I', l.lanname)
                FROM pg_language l WHERE NOT l.lanpltrusted AND l.lanname NOT IN ('c', 'internal')",
    },
];
