//! Rules for everything in the catalog. Each is a query for the objects that break it, and has to return no row.

use anyhow::Result;
use haven_testkit::secrets::SUPERUSER;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::empty;

/// Haven's schemas, and `public`, which may have objects of extensions only.
const OURS: &str = "nspname IN ('identity', 'data', 'auth', 'public')";

/// The rules, each with a query for the names of the objects that break it.
const RULES: [(&str, &str); 26] = [
    (
        "Row Level Security is enabled and forced on every table",
        "SELECT name FROM relations WHERE kind IN ('r', 'p', 'f', 'm') AND NOT (enabled AND forced)",
    ),
    (
        "every table is in the schema of a service",
        "SELECT name FROM relations WHERE schema NOT IN ('identity', 'data')",
    ),
    (
        "every relation with rows is a table or a view",
        "SELECT name FROM relations WHERE kind NOT IN ('r', 'p', 'v')",
    ),
    (
        "the primary key of every tenant table begins with the person",
        "SELECT name FROM tenant_tables WHERE person IS NULL OR key[1] IS DISTINCT FROM person",
    ),
    (
        "every foreign key goes from a person's row to a row of the same person",
        "SELECT c.conname || ' on ' || f.name FROM pg_constraint c
           JOIN tenant_tables f ON f.oid = c.conrelid LEFT JOIN tenant_tables t ON t.oid = c.confrelid
          WHERE c.contype = 'f' AND NOT EXISTS (
                SELECT FROM unnest(c.conkey, c.confkey) AS pair (of, to_)
                  JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = pair.of AND a.attname = f.person
                  JOIN pg_attribute b ON b.attrelid = c.confrelid AND b.attnum = pair.to_ AND b.attname = t.person)",
    ),
    (
        "every index begins with the person, or is declared to look across all people",
        "SELECT i.indexrelid::regclass::text FROM pg_index i JOIN tenant_tables t ON t.oid = i.indrelid
           JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = i.indkey[0]
          WHERE a.attname <> t.person AND i.indexrelid::regclass::text NOT IN (
                'identity.users_email_canonical_key', 'identity.requests_sign_up_key',
                'identity.outbox_next_attempt_at_idx', 'identity.outbox_created_at_idx',
                -- Lists for services, and rows that are found before their person is known.
                'identity.users_created_at_idx', 'identity.users_stage_idx', 'identity.refresh_tokens_token_hash_key',
                'identity.erasures_service_request_key', 'identity.erasures_sign_up_digest_idx',
                -- Old rows, for the sweepers.
                'identity.refresh_tokens_expires_at_idx', 'identity.recovery_tokens_unused_idx',
                'identity.requests_created_at_idx', 'identity.security_audit_log_occurred_at_idx',
                'identity.device_tokens_expires_at_idx', 'identity.erasures_completed_at_idx',
                'identity.erasures_requested_at_idx',
                -- Recovery tokens by their hash, addresses that accounts may get back, and expired tokens.
                'identity.recovery_tokens_token_hash_key', 'identity.recovery_tokens_reserved_idx',
                'identity.recovery_tokens_expires_at_idx',
                -- The queue of the workers, the feed that services watch, and the rows sealed under a key.
                'data.analysis_jobs_due_idx', 'data.analysis_jobs_lease_token_idx', 'data.analysis_jobs_lease_digest_idx',
                'data.analysis_jobs_lease_expires_at_idx', 'data.analysis_jobs_dead_idx',
                'data.crisis_events_number_key', 'data.crisis_events_unnumbered_idx',
                'data.conversations_key_id_idx', 'data.analysis_results_key_id_idx', 'data.requests_created_at_idx',
                -- The keys that stored hashes are under.
                'identity.requests_key_id_idx', 'identity.refresh_tokens_key_id_idx', 'identity.device_tokens_key_id_idx',
                'identity.recovery_tokens_key_id_idx', 'data.requests_key_id_idx',
                'data.share_token_key_id_idx',
                -- Tokens of shares, and changes that no device needs any more.
                'data.share_token_token_hash_key', 'data.encrypted_cycle_data_deleted_at_idx',
                'data.cycle_data_conflicts_settled_at_idx',
                -- Shares whose content or metadata, events, and receipts whose counts nothing needs any more.
                'data.healthcare_share_expires_at_idx', 'data.healthcare_share_unavailable_idx',
                'data.healthcare_share_ended_at_idx', 'data.security_audit_log_sweep_idx',
                'data.tombstones_counted_idx',
                -- Attempts to open shares, for haven_readonly.
                'data.healthcare_share_audit_all_idx', 'data.healthcare_share_audit_share_idx')",
    ),
    (
        "views run with the rights of the reader",
        "SELECT name FROM relations WHERE kind = 'v' AND NOT 'security_invoker=true' = ANY (coalesce(options, '{}'))",
    ),
    (
        "every policy names its roles",
        "SELECT policy FROM policies WHERE 0 = ANY (polroles)",
    ),
    (
        "every policy is for one command",
        "SELECT policy FROM policies WHERE polcmd = '*'",
    ),
    (
        "every policy on a write has WITH CHECK",
        "SELECT policy FROM policies WHERE polcmd IN ('a', 'w') AND polwithcheck IS NULL",
    ),
    (
        "every policy evaluates the caller once per statement, not per row",
        "SELECT policy FROM policies
          WHERE replace(condition, '( SELECT auth.uid() AS uid)', '') ~ 'auth\\.uid|current_setting\\(''request'",
    ),
    (
        "policies without a condition are only on migration histories, tables without a person, queues of services and metadata",
        "SELECT policy FROM policies
          WHERE condition = 'true' AND policy NOT LIKE '%\\_sqlx\\_migrations to %\\_owner'
            AND polrelid NOT IN ('identity.rate_limits'::regclass, 'identity.failures'::regclass,
                                 'identity.ended_sessions'::regclass, 'data.sync_epochs'::regclass)
            AND policy NOT LIKE '%\\_service' AND policy NOT LIKE '%haven\\_readonly'",
    ),
    (
        "PUBLIC may execute no function",
        "SELECT signature FROM functions, aclexplode(coalesce(proacl, acldefault('f', proowner))) WHERE grantee = 0",
    ),
    (
        "every SECURITY DEFINER function has an empty search_path",
        "SELECT signature FROM functions
          WHERE prosecdef AND NOT 'search_path=\"\"' = ANY (coalesce(proconfig, '{}'))",
    ),
    (
        "every function has an empty search_path, is in SQL that was parsed when it was created, or has the rules of a CHECK",
        "SELECT signature FROM functions
          WHERE NOT 'search_path=\"\"' = ANY (coalesce(proconfig, '{}')) AND prosqlbody IS NULL
            AND oid NOT IN (SELECT oid FROM checking)",
    ),
    (
        "no role that serves requests may create an object, which could hide one of the server's from the functions of CHECKs",
        "SELECT r.rolname || ' creates objects in ' || place FROM pg_roles r, (
                SELECT 'schema ' || nspname, nspname, NULL FROM pg_namespace
                UNION ALL SELECT 'database ' || datname, NULL, datname FROM pg_database WHERE datname = current_database()
            ) AS places (place, of_schema, of_database)
          WHERE r.rolname ~ '^(identity|data|haven)_' AND r.rolname NOT IN ('identity_owner', 'data_owner', 'haven_admin')
            AND (has_schema_privilege(r.oid, of_schema::text, 'CREATE')
                 OR has_database_privilege(r.oid, of_database::text, 'CREATE, TEMPORARY'))",
    ),
    (
        "no table has more than four CHECKs, which are parsed for every statement: more rules are in one function",
        "SELECT conrelid::regclass::text FROM pg_constraint
          WHERE contype = 'c' AND conrelid IN (SELECT oid FROM relations)
          GROUP BY conrelid HAVING count(*) > 4",
    ),
    (
        "the function of a CHECK is in plpgsql, which is kept compiled, and neither volatile nor parallel unsafe",
        "SELECT signature FROM checking JOIN pg_language l ON l.oid = prolang
          WHERE lanname <> 'plpgsql' OR provolatile = 'v' OR proparallel <> 's' OR prosecdef OR proconfig IS NOT NULL",
    ),
    (
        "every role that may write a table may execute the functions of its CHECKs",
        "SELECT r.rolname || ' may not execute ' || signature FROM checking JOIN relations t ON t.oid = checked, pg_roles r
          WHERE r.rolname !~ '^pg_' AND NOT has_function_privilege(r.oid, checking.oid, 'EXECUTE')
            AND (has_any_column_privilege(r.oid, checked, 'INSERT') OR has_any_column_privilege(r.oid, checked, 'UPDATE'))",
    ),
    (
        "PUBLIC has no privilege on any other object",
        "SELECT name FROM relations, aclexplode(acl) WHERE grantee = 0
         UNION SELECT nspname FROM pg_namespace, aclexplode(nspacl) WHERE OURS AND grantee = 0
         UNION SELECT datname FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba)))
                WHERE datname = current_database() AND grantee = 0
         UNION SELECT attrelid::regclass || '.' || attname FROM pg_attribute JOIN relations r ON r.oid = attrelid,
                aclexplode(attacl) WHERE grantee = 0",
    ),
    (
        "no privilege has a grant option",
        "SELECT name FROM relations, aclexplode(acl) WHERE is_grantable AND grantee <> owner",
    ),
    (
        "roles that serve requests own no object",
        "SELECT r.rolname || ' owns ' || pg_describe_object(d.classid, d.objid, d.objsubid)
           FROM pg_shdepend d JOIN pg_roles r ON r.oid = d.refobjid
          WHERE d.refclassid = 'pg_authid'::regclass AND d.deptype = 'o'
            AND r.rolname ~ '^(identity|data|haven)_' AND r.rolname NOT IN ('identity_owner', 'data_owner', 'haven_admin')",
    ),
    (
        "no role of Haven has powers over all rows, roles or databases",
        "SELECT rolname FROM pg_roles
          WHERE rolname ~ '^(identity|data|haven)_'
            AND (rolsuper OR rolbypassrls
                 OR ((rolcreaterole OR rolcreatedb) AND rolname <> 'haven_admin')
                 OR rolreplication)",
    ),
    (
        "a membership gives no privilege before SET ROLE",
        "SELECT m.rolname || ' has what ' || g.rolname || ' has' FROM pg_roles m, pg_roles g
          WHERE m.oid <> g.oid AND NOT m.rolsuper AND m.rolname !~ '^pg_' AND pg_has_role(m.oid, g.oid, 'USAGE')
            AND (m.rolname, g.rolname) NOT IN (('haven_admin', 'pg_database_owner'), ('haven_monitor', 'pg_monitor'),
                                               ('haven_backup', 'pg_read_all_settings'))
            AND NOT (m.rolname = 'haven_monitor' AND pg_has_role('pg_monitor', g.oid, 'USAGE'))",
    ),
    (
        "no role may select a token, except that of a lease, which is stored for a day after an upgrade",
        "SELECT r.rolname || ' selects ' || t.name || '.' || a.attname
           FROM relations t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attname ~ '(token|secret|passcode|password)$', pg_roles r
          WHERE NOT r.rolsuper AND r.rolname !~ '^pg_' AND r.oid <> t.owner
            AND has_column_privilege(r.oid, t.oid, a.attnum, 'SELECT')
            AND (r.rolname, t.name, a.attname) <> ('data_service', 'data.analysis_jobs', 'lease_token')",
    ),
    (
        "no role may select a hash",
        "SELECT r.rolname || ' selects ' || t.name || '.' || a.attname
           FROM relations t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attname ~ 'hash', pg_roles r
          WHERE NOT r.rolsuper AND r.rolname !~ '^pg_' AND r.oid <> t.owner
            AND has_column_privilege(r.oid, t.oid, a.attnum, 'SELECT')",
    ),
];

/// Creates views of the objects that the rules are about. Objects of extensions are left out.
const SUBJECTS: &str = "
    CREATE TEMPORARY VIEW relations AS
        SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS name, n.nspname AS schema, c.relkind AS kind,
               c.relowner AS owner, c.relacl AS acl, c.reloptions AS options,
               c.relrowsecurity AS enabled, c.relforcerowsecurity AS forced
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^(pg_|information_schema$)'
           AND NOT EXISTS (SELECT FROM pg_depend
                            WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e');
    CREATE TEMPORARY VIEW tenant_tables AS
        SELECT oid, name,
               -- The column with the id of the row's person: id in users, and user_id elsewhere.
               (SELECT attname FROM pg_attribute WHERE attrelid = relations.oid AND NOT attisdropped
                   AND attname = CASE WHEN name LIKE '%.users' THEN 'id' ELSE 'user_id' END) AS person,
               (SELECT array_agg(attname ORDER BY array_position(conkey, attnum))
                  FROM pg_constraint JOIN pg_attribute ON attrelid = conrelid AND attnum = ANY (conkey)
                 WHERE conrelid = relations.oid AND contype = 'p') AS key
          FROM relations WHERE kind IN ('r', 'p') AND name NOT LIKE '%._sqlx_migrations'
           -- Keyed hashes, sessions without their person, the last number of a feed, and restores of the database.
           AND name NOT IN ('identity.rate_limits', 'identity.failures', 'identity.ended_sessions', 'data.crisis_feed',
                            'data.sync_epochs');
    CREATE TEMPORARY VIEW functions AS
        SELECT p.oid::regprocedure::text AS signature, p.*
          FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
         WHERE n.nspname !~ '^(pg_|information_schema$)'
           AND NOT EXISTS (SELECT FROM pg_depend
                            WHERE classid = 'pg_proc'::regclass AND objid = p.oid AND deptype = 'e');
    CREATE TEMPORARY VIEW checking AS
        SELECT f.*, k.conrelid AS checked FROM functions f
          JOIN pg_depend d ON d.refclassid = 'pg_proc'::regclass AND d.refobjid = f.oid
               AND d.classid = 'pg_constraint'::regclass
          JOIN pg_constraint k ON k.oid = d.objid AND k.contype = 'c';
    CREATE TEMPORARY VIEW policies AS
        SELECT p.*, polname || ' on ' || polrelid::regclass || ' to '
                   || array_to_string(polroles::regrole[], ', ') AS policy,
               condition
          FROM pg_policy p,
               unnest(ARRAY[pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)]) AS condition
         WHERE condition IS NOT NULL";

#[tokio::test]
async fn the_rules_hold() -> Result<()> {
    let database = empty().await?;
    let mut superuser = database.connect(SUPERUSER).await?;
    prepare(&mut superuser).await?;
    let broken = broken(&mut superuser).await?;
    assert!(
        broken.is_empty(),
        "{} rules are broken:\n{}",
        broken.len(),
        broken.join("\n")
    );
    Ok(())
}

/// Creates the views that [`broken`] reads, for as long as the connection lives.
pub(crate) async fn prepare(superuser: &mut PgConnection) -> Result<()> {
    sqlx::raw_sql(SUBJECTS).execute(superuser).await?;
    Ok(())
}

/// Returns a line for each object that breaks a rule.
pub(crate) async fn broken(superuser: &mut PgConnection) -> Result<Vec<String>> {
    let mut broken = Vec::new();
    for (rule, breaks) in RULES {
        let sql = format!(
            "SELECT DISTINCT found::text FROM ({}) AS breaking (found)",
            breaks.replace("OURS", OURS)
        );
        let found: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_all(&mut *superuser)
            .await?;
        broken.extend(
            found
                .into_iter()
                .map(|found| format!("{rule}; broken by {found}")),
        );
    }
    Ok(broken)
}

/// A rule always holds when there is no object that it is about.
#[tokio::test]
async fn the_rules_are_about_existing_objects() -> Result<()> {
    let database = empty().await?;
    let mut superuser = database.connect(SUPERUSER).await?;
    prepare(&mut superuser).await?;
    for subjects in ["relations", "tenant_tables", "functions", "checking", "policies"] {
        let count = AssertSqlSafe(format!("SELECT count(*) FROM {subjects}"));
        let count: i64 = sqlx::query_scalar(count).fetch_one(&mut superuser).await?;
        assert!(count > 0, "no {subjects}");
    }
    Ok(())
}

/// Default privileges close functions that an owner creates later.
#[tokio::test]
async fn public_may_not_execute_a_new_function() -> Result<()> {
    let database = empty().await?;
    for schema in ["identity", "data"] {
        let mut owner = database.connect(&format!("{schema}_owner")).await?;
        let create = format!("CREATE FUNCTION {schema}.later() RETURNS int LANGUAGE sql RETURN 1");
        assert!(
            !public_may_execute(&mut owner, &create, &format!("{schema}.later()")).await?,
            "{schema}"
        );
    }
    Ok(())
}

/// Creates a function in a transaction that is rolled back. Returns `true` when PUBLIC may execute it.
async fn public_may_execute(owner: &mut PgConnection, create: &str, function: &str) -> Result<bool> {
    let mut transaction = owner.begin().await?;
    sqlx::raw_sql(AssertSqlSafe(create))
        .execute(&mut *transaction)
        .await?;
    // haven_backup has no grants in the schemas, so there it may do only what PUBLIC may do.
    let may = "SELECT has_function_privilege('haven_backup', $1, 'EXECUTE')";
    Ok(sqlx::query_scalar(may)
        .bind(function)
        .fetch_one(&mut *transaction)
        .await?)
}
