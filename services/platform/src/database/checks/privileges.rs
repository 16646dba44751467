//! Checks of grants: that PUBLIC has none, and that a role has only those that Row Level Security limits.

use super::{
    Check,
    Environments::Every,
    Sight::{Anyone, Superuser},
};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "public-tables",
        title: "PUBLIC has no right to a table, view, sequence or column",
        meaning: "Every login of the cluster has the rights of PUBLIC, also one that is created later.",
        remedy: "REVOKE ALL ON … FROM PUBLIC",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('%s on %s', a.privilege_type, c.oid::regclass)
                FROM pg_class c, aclexplode(c.relacl) a
               WHERE c.relnamespace = '{schema}'::regnamespace AND a.grantee = 0
              UNION ALL
              SELECT format('%s on %s.%I', a.privilege_type, c.oid::regclass, t.attname)
                FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid, aclexplode(t.attacl) a
               WHERE c.relnamespace = '{schema}'::regnamespace AND a.grantee = 0",
    },
    Check {
        name: "public-functions",
        title: "PUBLIC may execute no function",
        meaning: "Postgres gives PUBLIC the right to each new function. A SECURITY DEFINER function runs as its owner.",
        remedy: "REVOKE EXECUTE ON FUNCTION … FROM PUBLIC",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('EXECUTE on %s', p.oid::regprocedure)
                FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
               WHERE p.pronamespace = '{schema}'::regnamespace AND a.grantee = 0",
    },
    Check {
        name: "public-types",
        title: "PUBLIC may use no type",
        meaning: "A login that uses a type in its own objects blocks a migration of the type.",
        remedy: "REVOKE USAGE ON TYPE … FROM PUBLIC",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('USAGE on %s', t.oid::regtype)
                FROM pg_type t, aclexplode(coalesce(t.typacl, acldefault('T', t.typowner))) a
               WHERE t.typnamespace = '{schema}'::regnamespace AND a.grantee = 0 AND t.typcategory <> 'A'
                 -- The row type of a table has the table's rights.
                 AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind <> 'c')",
    },
    Check {
        name: "public-schemas",
        title: "PUBLIC has no right to a schema of Haven or to public, and may create objects in none",
        meaning: "An object that a stranger creates can take the place of one that a statement means.",
        remedy: "REVOKE ALL ON SCHEMA … FROM PUBLIC",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('%s on schema %I', a.privilege_type, n.nspname)
                FROM pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
               WHERE a.grantee = 0 AND (n.nspname IN ('{schema}', 'public') OR a.privilege_type = 'CREATE')",
    },
    Check {
        name: "public-database",
        title: "PUBLIC may not connect to the database, nor create schemas or temporary tables in it",
        meaning: "By default every login of the cluster may connect, and create temporary tables, which come first in name resolution.",
        remedy: "REVOKE ALL ON DATABASE … FROM PUBLIC",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('%s on database %I', a.privilege_type, d.datname)
                FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
               WHERE d.datname = current_database() AND a.grantee = 0",
    },
    Check {
        name: "default-privileges",
        title: "default privileges give nothing to PUBLIC",
        meaning: "They decide the rights to what the owner creates later; without them PUBLIC may execute each new function.",
        remedy: "as the owner: ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON ROUTINES FROM PUBLIC (and USAGE ON TYPES)",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('role %s: nothing takes the default right to new %s from PUBLIC', r.rolname, kind.title)
                FROM pg_roles r, (VALUES ('f', 'functions'), ('T', 'types')) AS kind (code, title)
               WHERE r.rolname = '{schema}_owner'
                 AND NOT EXISTS (SELECT FROM pg_default_acl d
                                  WHERE d.defaclrole = r.oid AND d.defaclnamespace = 0 AND d.defaclobjtype::text = kind.code)
              UNION ALL
              SELECT format('role %s: PUBLIC gets %s on new objects%s', d.defaclrole::regrole, a.privilege_type,
                            CASE WHEN d.defaclnamespace = 0 THEN '' ELSE ' of schema ' || d.defaclnamespace::regnamespace END)
                FROM pg_default_acl d, aclexplode(d.defaclacl) a
               WHERE a.grantee = 0 AND (d.defaclrole = '{schema}_owner'::regrole
                                        OR d.defaclnamespace = '{schema}'::regnamespace)",
    },
    Check {
        name: "grant-options",
        title: "no role may pass its rights on",
        meaning: "A role with a grant option can give its rights to any other role.",
        remedy: "REVOKE GRANT OPTION FOR … ON … FROM …",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('%s may pass on %s on %s', a.grantee::regrole, a.privilege_type, c.oid::regclass)
                FROM pg_class c, aclexplode(c.relacl) a
               WHERE c.relnamespace = '{schema}'::regnamespace AND a.is_grantable AND a.grantee <> c.relowner
              UNION ALL
              SELECT format('%s may pass on %s on %s.%I', a.grantee::regrole, a.privilege_type, c.oid::regclass, t.attname)
                FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid, aclexplode(t.attacl) a
               WHERE c.relnamespace = '{schema}'::regnamespace AND a.is_grantable AND a.grantee <> c.relowner
              UNION ALL
              SELECT format('%s may pass on %s on %s', a.grantee::regrole, a.privilege_type, p.oid::regprocedure)
                FROM pg_proc p, aclexplode(p.proacl) a
               WHERE p.pronamespace = '{schema}'::regnamespace AND a.is_grantable AND a.grantee <> p.proowner",
    },
    Check {
        name: "rights-beyond-policies",
        title: "no role has TRUNCATE, REFERENCES or TRIGGER on a table",
        meaning: "Row Level Security limits none of them: TRUNCATE deletes all rows, a foreign key finds other people's keys.",
        remedy: "REVOKE TRUNCATE, REFERENCES, TRIGGER ON … FROM …",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('%s has %s on %s', a.grantee::regrole, a.privilege_type, c.oid::regclass)
                FROM pg_class c, aclexplode(c.relacl) a
               WHERE c.relnamespace = '{schema}'::regnamespace AND c.relkind IN ('r', 'p') AND a.grantee NOT IN (0, c.relowner)
                 AND a.privilege_type NOT IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
              UNION ALL
              SELECT format('%s has %s on %s.%I', a.grantee::regrole, a.privilege_type, c.oid::regclass, t.attname)
                FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid, aclexplode(t.attacl) a
               WHERE c.relnamespace = '{schema}'::regnamespace AND c.relkind IN ('r', 'p') AND a.grantee NOT IN (0, c.relowner)
                 AND a.privilege_type = 'REFERENCES'",
    },
    Check {
        name: "creators",
        title: "only owners create objects in the schema and in the database",
        meaning: "An object that a login creates can take the place of one that a statement means.",
        remedy: "REVOKE CREATE ON SCHEMA … FROM …; REVOKE CREATE, TEMPORARY ON DATABASE … FROM …",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('%s has CREATE on schema %I', a.grantee::regrole, n.nspname)
                FROM pg_namespace n, aclexplode(n.nspacl) a
               WHERE n.nspname = '{schema}' AND a.privilege_type = 'CREATE' AND a.grantee NOT IN (0, n.nspowner)
              UNION ALL
              SELECT format('%s has %s on the database', a.grantee::regrole, a.privilege_type)
                FROM pg_database d, aclexplode(d.datacl) a
               WHERE d.datname = current_database() AND a.privilege_type <> 'CONNECT' AND a.grantee NOT IN (0, d.datdba)",
    },
    Check {
        name: "parameter-rights",
        title: "no role has a right to a setting of superusers",
        meaning: "With session_replication_role a request disables triggers and foreign keys; with log_statement it fills the log.",
        remedy: "REVOKE SET, ALTER SYSTEM ON PARAMETER … FROM …",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('%s has %s on %s', CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END,
                            a.privilege_type, p.parname)
                FROM pg_parameter_acl p, aclexplode(p.paracl) a
               WHERE NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = a.grantee AND r.rolsuper)",
    },
    Check {
        name: "backup-functions",
        title: "only haven_backup may call the functions of backups, and nothing else is granted to it",
        meaning: "They end another backup and fill the archive. pgBackRest needs four functions, and no row.",
        remedy: "REVOKE EXECUTE ON FUNCTION … FROM …; compare with migrations/cluster/0002_database.sql",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('%s may execute %s', CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END,
                            p.oid::regprocedure)
                FROM pg_proc p, aclexplode(p.proacl) a,
                     LATERAL (SELECT p.oid::regprocedure::text IN (
                                  'pg_backup_start(text,boolean)', 'pg_backup_stop(boolean)',
                                  'pg_create_restore_point(text)', 'pg_switch_wal()') AS of_backups,
                                     coalesce(a.grantee = to_regrole('haven_backup'), false) AS to_backup) AS kind
               WHERE a.grantee <> p.proowner AND kind.of_backups <> kind.to_backup",
    },
    Check {
        name: "large-object-functions",
        title: "no role may use large objects",
        meaning: "They are outside of every table and policy, without a limit, and are not erased with a person.",
        remedy: "as a superuser, run deploy/postgres/roles.sql",
        sight: Superuser,
        fails_in: Every,
        // pg_authid keeps the check to superusers: only they read it, and can revoke what the check finds.
        sql: "SELECT format('%s may execute %s', CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END,
                            p.oid::regprocedure)
                FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
               WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname ~ '^(lo_.*|loread|lowrite)$'
                 AND a.grantee <> p.proowner AND EXISTS (SELECT FROM pg_authid)",
    },
    Check {
        name: "bare-logins",
        title: "the logins of the services have no right to a table themselves",
        meaning: "A statement outside of a transaction with a caller must reach nothing; rights belong to the roles of a transaction.",
        remedy: "REVOKE ALL ON … FROM …",
        sight: Anyone,
        fails_in: Every,
        sql: "WITH acl AS (
                  SELECT c.oid, c.relacl AS acl FROM pg_class c WHERE c.relnamespace = '{schema}'::regnamespace
                  UNION ALL
                  SELECT c.oid, t.attacl FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid
                   WHERE c.relnamespace = '{schema}'::regnamespace)
              SELECT DISTINCT format('%s has %s on %s', a.grantee::regrole, a.privilege_type, acl.oid::regclass)
                FROM acl, aclexplode(acl.acl) a
               WHERE a.grantee <> 0
                 AND a.grantee::regrole::text IN ('{schema}_app', '{schema}_worker', 'haven_backup', 'haven_monitor')",
    },
    Check {
        name: "owners",
        title: "the schema and everything in it belong to its owner role",
        meaning: "The owner of an object may change its policies, and drop it.",
        remedy: "ALTER … OWNER TO {schema}_owner",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('%s belongs to %s', pg_describe_object(o.classid, o.id, 0), o.owner::regrole)
                FROM (SELECT 'pg_namespace'::regclass AS classid, n.oid AS id, n.nspowner AS owner
                        FROM pg_namespace n WHERE n.nspname = '{schema}'
                      UNION ALL
                      SELECT 'pg_class'::regclass, c.oid, c.relowner
                        FROM pg_class c WHERE c.relnamespace = '{schema}'::regnamespace AND c.relkind NOT IN ('i', 'I')
                      UNION ALL
                      SELECT 'pg_proc'::regclass, p.oid, p.proowner
                        FROM pg_proc p WHERE p.pronamespace = '{schema}'::regnamespace AND NOT p.prosecdef
                      UNION ALL
                      SELECT 'pg_type'::regclass, t.oid, t.typowner
                        FROM pg_type t
                       WHERE t.typnamespace = '{schema}'::regnamespace AND t.typcategory <> 'A' AND t.typrelid = 0) AS o
               WHERE o.owner::regrole::text <> '{schema}_owner'",
    },
    Check {
        name: "logins-own-nothing",
        title: "the logins and roles of requests own nothing",
        meaning: "An owner may give itself and others any right to its objects.",
        remedy: "REASSIGN OWNED BY … TO …, or DROP OWNED BY …",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('%s owns %s', s.refobjid::regrole,
                            CASE WHEN s.dbid IN (0, (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))
                                 THEN pg_describe_object(s.classid, s.objid, s.objsubid)
                                 ELSE 'an object of database ' || (SELECT d.datname FROM pg_database d WHERE d.oid = s.dbid) END)
                FROM pg_shdepend s JOIN {declared} ON s.refobjid::regrole::text = declared.name
               WHERE s.refclassid = 'pg_authid'::regclass AND s.deptype = 'o' AND declared.name !~ '_owner$'",
    },
];
