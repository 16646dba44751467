//! Checks of Row Level Security: that it is in force, and that policies cover what the grants allow.

use super::{Check, Environments::Every, Sight::Anyone};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "row-security-forced",
        title: "Row Level Security is enabled and forced on every table",
        meaning: "Without it, a login with a grant reads every person's rows; without FORCE, the owner does.",
        remedy: "ALTER TABLE … ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('table %s: Row Level Security is %s', c.oid::regclass,
                            CASE WHEN c.relrowsecurity THEN 'enabled, but not forced' ELSE 'not enabled' END)
                FROM pg_class c
               WHERE c.relnamespace = '{schema}'::regnamespace AND c.relkind IN ('r', 'p')
                 AND NOT (c.relrowsecurity AND c.relforcerowsecurity)",
    },
    Check {
        name: "policies-present",
        title: "a policy decides every granted command on every table",
        meaning: "A role without a policy sees no rows; a table without one is closed, and its service does not work.",
        remedy: "run `migrate` of the newest program; restore a dropped policy from the migration that created it",
        sight: Anyone,
        fails_in: Every,
        sql: "WITH granted AS (
                  SELECT c.oid AS relation, c.relowner, a.grantee, a.privilege_type AS command
                    FROM pg_class c, aclexplode(c.relacl) a
                   WHERE c.relnamespace = '{schema}'::regnamespace AND c.relkind IN ('r', 'p')
                  UNION
                  SELECT c.oid, c.relowner, a.grantee, a.privilege_type
                    FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid, aclexplode(t.attacl) a
                   WHERE c.relnamespace = '{schema}'::regnamespace AND c.relkind IN ('r', 'p'))
              SELECT format('table %s: no policy for %s by %s', relation::regclass, command, grantee::regrole)
                FROM granted
               WHERE grantee NOT IN (0, relowner) AND command IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
                 -- pgaudit compares statements with the rights of haven_audit, which is not a login.
                 AND grantee::regrole::text <> 'haven_audit'
                 AND NOT EXISTS (
                     SELECT FROM pg_policy p
                      WHERE p.polrelid = relation AND p.polpermissive AND (0 = ANY (p.polroles) OR grantee = ANY (p.polroles))
                        AND p.polcmd::text IN ('*', CASE command WHEN 'SELECT' THEN 'r' WHEN 'INSERT' THEN 'a'
                                                                 WHEN 'UPDATE' THEN 'w' ELSE 'd' END))
              UNION ALL
              SELECT format('table %s: no policy at all', c.oid::regclass)
                FROM pg_class c
               WHERE c.relnamespace = '{schema}'::regnamespace AND c.relkind IN ('r', 'p')
                 AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid)",
    },
    Check {
        name: "policies-name-roles",
        title: "every policy names its roles, and checks what is written",
        meaning: "A policy for PUBLIC applies to roles that do not exist yet. Without WITH CHECK, any row can be inserted.",
        remedy: "drop the policy, and restore it from the migration that created it",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('policy %I on %s: applies to PUBLIC', p.polname, p.polrelid::regclass)
                FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
               WHERE c.relnamespace = '{schema}'::regnamespace AND 0 = ANY (p.polroles)
              UNION ALL
              SELECT format('policy %I on %s: has no WITH CHECK', p.polname, p.polrelid::regclass)
                FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
               WHERE c.relnamespace = '{schema}'::regnamespace AND p.polcmd IN ('a', 'w', '*') AND p.polwithcheck IS NULL",
    },
    Check {
        name: "policies-by-person",
        title: "no policy gives a person's request all rows of a table with people's rows",
        meaning: "A condition that is always true shows each person the rows of all others.",
        remedy: "drop the policy, and restore it from the migration that created it",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('policy %I on %s: %s is always true', p.polname, p.polrelid::regclass, part.name)
                FROM pg_policy p
                JOIN pg_class c ON c.oid = p.polrelid,
                     LATERAL (VALUES ('USING', p.polqual, p.polcmd <> 'a'),
                                     ('WITH CHECK', p.polwithcheck, p.polcmd IN ('a', 'w', '*'))) AS part (name, tree, applies)
               WHERE c.relnamespace = '{schema}'::regnamespace AND part.applies AND p.polpermissive
                 AND p.polroles && ARRAY[0, '{schema}_anon'::regrole::oid, '{schema}_user'::regrole::oid,
                                         '{schema}_app'::regrole::oid]
                 AND btrim(pg_get_expr(part.tree, p.polrelid), '()') = 'true'
                 AND EXISTS (SELECT FROM pg_attribute a
                              WHERE a.attrelid = c.oid AND NOT a.attisdropped AND a.attname = 'user_id'
                                 OR a.attrelid = c.oid AND c.relname = 'users')",
    },
    Check {
        name: "views-security-invoker",
        title: "views run with the rights of their reader",
        meaning: "A view without security_invoker reads as its owner, for whom other policies apply.",
        remedy: "ALTER VIEW … SET (security_invoker = true)",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('view %s: runs as its owner', c.oid::regclass)
                FROM pg_class c
               WHERE c.relnamespace = '{schema}'::regnamespace AND c.relkind = 'v'
                 AND NOT EXISTS (SELECT FROM pg_options_to_table(c.reloptions) o
                                  WHERE o.option_name = 'security_invoker' AND o.option_value IN ('true', 'on', '1', 'yes'))",
    },
    Check {
        name: "relations-with-policies",
        title: "rows are in tables only: no materialized view, no foreign table",
        meaning: "No policy applies to the rows of a materialized view or of a foreign table.",
        remedy: "drop the relation; Haven creates none",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('%s %s', CASE c.relkind WHEN 'm' THEN 'materialized view' ELSE 'foreign table' END, c.oid::regclass)
                FROM pg_class c
               WHERE c.relnamespace = '{schema}'::regnamespace AND c.relkind IN ('m', 'f')",
    },
    Check {
        name: "row-security-setting",
        title: "row_security is on, for every role",
        meaning: "With row_security = off, each query of a person's request fails instead of being filtered.",
        remedy: "ALTER SYSTEM RESET row_security, ALTER ROLE … RESET row_security",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('row_security is %s (%s)', value, place)
                FROM {settings} WHERE name = 'row_security' AND value NOT IN ('on', 'true', 'yes', '1')",
    },
    Check {
        name: "hash-columns",
        title: "no role may select a column with a hash",
        meaning: "The functions that compare hashes run as the owner. A role that reads them can try passwords offline.",
        remedy: "REVOKE SELECT ON … FROM …",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('role %s selects %s.%I', r.rolname, c.oid::regclass, a.attname)
                FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname ~ 'hash' AND NOT a.attisdropped,
                     pg_roles r
               WHERE c.relnamespace = '{schema}'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
                 AND NOT r.rolsuper AND r.rolname !~ '^pg_' AND r.oid <> c.relowner
                 AND has_column_privilege(r.oid, c.oid, a.attnum, 'SELECT')",
    },
    Check {
        name: "leakproof-functions",
        title: "no function outside of Postgres is LEAKPROOF",
        meaning: "A leakproof function runs before the policies filter rows, so it sees every person's values.",
        remedy: "ALTER FUNCTION … NOT LEAKPROOF",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('function %s', p.oid::regprocedure)
                FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
               WHERE p.proleakproof AND n.nspname NOT IN ('pg_catalog', 'information_schema')
                 AND NOT EXISTS (SELECT FROM pg_depend d
                                  WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')",
    },
    Check {
        name: "triggers-enabled",
        title: "no trigger is disabled",
        meaning: "Triggers keep the logs append-only, and foreign keys are triggers too.",
        remedy: "ALTER TABLE … ENABLE TRIGGER …; then verify the rows that were written in the meantime",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('trigger %I on %s', t.tgname, t.tgrelid::regclass)
                FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
               WHERE c.relnamespace = '{schema}'::regnamespace AND t.tgenabled NOT IN ('O', 'A')",
    },
    Check {
        name: "rewrite-rules",
        title: "no table has a rewrite rule",
        meaning: "A rule can copy what is written, or replace a statement by another one. Haven creates none.",
        remedy: "DROP RULE … ON …",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('rule %I on %s', w.rulename, w.ev_class::regclass)
                FROM pg_rewrite w JOIN pg_class c ON c.oid = w.ev_class
               WHERE c.relnamespace = '{schema}'::regnamespace AND NOT (c.relkind IN ('v', 'm') AND w.ev_type = '1')",
    },
    Check {
        name: "constraints-validated",
        title: "every constraint is validated, and every index valid",
        meaning: "Rows from before are not known to satisfy a constraint that is not valid; a broken unique index lets doubles in.",
        remedy: "ALTER TABLE … VALIDATE CONSTRAINT …; REINDEX INDEX CONCURRENTLY …",
        sight: Anyone,
        fails_in: Every,
        sql: "SELECT format('constraint %I on %s: not validated', k.conname, k.conrelid::regclass)
                FROM pg_constraint k
               WHERE k.connamespace = '{schema}'::regnamespace AND NOT k.convalidated
              UNION ALL
              SELECT format('index %s: not valid', i.indexrelid::regclass)
                FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
               WHERE c.relnamespace = '{schema}'::regnamespace AND NOT (i.indisvalid AND i.indisready)",
    },
];
