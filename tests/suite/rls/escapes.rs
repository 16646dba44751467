//! Attempts to become another role, and to circumvent privileges and policies.

use anyhow::Result;
use haven_testkit::{database::Database, installation::Installation, secrets::SUPERUSER};

use super::{
    caller::Caller, expectation::Outcome, intent::Intent, relation::Relation, report, seeded,
    session::Session,
};

/// The statements that no runtime login may run, as any of its roles.
const FORBIDDEN: [&str; 42] = [
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "ALTER ROLE CURRENT_USER BYPASSRLS",
    "ALTER ROLE CURRENT_USER CREATEROLE",
    "ALTER ROLE CURRENT_USER REPLICATION",
    "ALTER ROLE identity_owner PASSWORD 'known'",
    "CREATE ROLE stray",
    "GRANT identity_service TO CURRENT_USER",
    "GRANT data_owner TO CURRENT_USER",
    "GRANT pg_read_all_data TO CURRENT_USER",
    "REASSIGN OWNED BY identity_owner TO CURRENT_USER",
    "CREATE SCHEMA stray",
    "CREATE TABLE identity.stray ()",
    "CREATE TABLE data.stray ()",
    "CREATE TABLE auth.stray ()",
    "CREATE TABLE public.stray ()",
    // Temporary tables come first in name resolution.
    "CREATE TEMPORARY TABLE stray ()",
    "CREATE FUNCTION public.stray() RETURNS int LANGUAGE sql RETURN 1",
    "CREATE OR REPLACE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql RETURN NULL",
    "ALTER FUNCTION auth.uid() OWNER TO CURRENT_USER",
    "DROP FUNCTION identity.find_credential(text)",
    "DROP SCHEMA data CASCADE",
    "ALTER SCHEMA identity OWNER TO CURRENT_USER",
    "DROP EXTENSION plpgsql",
    "CREATE EVENT TRIGGER stray ON ddl_command_start EXECUTE FUNCTION pg_catalog.suppress_redundant_updates_trigger()",
    "CREATE FOREIGN DATA WRAPPER stray",
    "CREATE PUBLICATION stray FOR ALL TABLES",
    "CREATE SUBSCRIPTION stray CONNECTION '' PUBLICATION stray WITH (connect = false)",
    "SET log_statement = 'all'",
    "ALTER DATABASE template1 OWNER TO CURRENT_USER",
    // This setting disables triggers, which enforce foreign keys.
    "SET session_replication_role = replica",
    "COPY (SELECT) TO PROGRAM 'true'",
    "COPY (SELECT) TO '/tmp/stray'",
    "SELECT pg_read_file('PG_VERSION')",
    "SELECT lo_import('/etc/hostname')::text",
    "SELECT lo_creat(-1)::text",
    "SELECT lo_create(0)::text",
    "SELECT lo_from_bytea(0, 'x')::text",
    "SELECT lo_get(1)::text",
    "SELECT lo_open(1, 262144)::text",
    "SELECT rolpassword FROM pg_authid",
    // Statistics hold the most common values of every column.
    "SELECT stavalues1::text FROM pg_statistic",
    "SELECT subconninfo FROM pg_subscription",
];

#[tokio::test]
async fn a_login_becomes_its_own_roles_only() -> Result<()> {
    let (database, intent) = (seeded().await?, Intent::read());
    let all_roles: Vec<String> = sqlx::query_scalar("SELECT rolname::text FROM pg_roles ORDER BY 1")
        .fetch_all(&mut database.connect(SUPERUSER).await?)
        .await?;
    let mut failures = Vec::new();
    for_each_role(&database, &intent, async |session, login, role| {
        let mut attempts = Vec::new();
        for target in &all_roles {
            let permitted = target == login || intent.logins[login].contains(target);
            attempts.push((format!("SET ROLE {target}"), permitted));
            attempts.push((format!("SELECT set_config('role', '{target}', true)"), permitted));
            let permitted = target == login;
            attempts.push((format!("SET SESSION AUTHORIZATION {target}"), permitted));
            attempts.push((
                format!("SELECT set_config('session_authorization', '{target}', true)"),
                permitted,
            ));
        }
        let statements: Vec<String> = attempts.iter().map(|(sql, _)| sql.clone()).collect();
        let outcomes = session.attempt_all("", &statements).await?;
        for ((sql, permitted), found) in attempts.into_iter().zip(outcomes) {
            if permitted == (found == Outcome::Refused) || matches!(found, Outcome::Failed(_)) {
                let verb = if permitted { "may" } else { "may not" };
                failures.push(format!("{login} as {role} {verb} run {sql}: {found}"));
            }
        }
        Ok(())
    })
    .await?;
    report(&failures)
}

#[tokio::test]
async fn privileges_and_policies_cannot_be_circumvented() -> Result<()> {
    let (database, intent) = (seeded().await?, Intent::read());
    let mut superuser = database.connect(SUPERUSER).await?;
    let relations = Relation::read_all(&mut superuser, &intent.relations).await?;
    sqlx::query("ANALYZE").execute(&mut superuser).await?;
    let mut failures = Vec::new();
    for_each_role(&database, &intent, async |session, login, role| {
        let unfiltered: Vec<String> = relations
            .iter()
            .map(|relation| format!("SELECT {}::text FROM {}", relation.person, relation.name))
            .collect();
        // With row_security off, a query that policies would filter is an error; it does not run unfiltered.
        for (setup, attempts) in [
            ("", FORBIDDEN.map(str::to_owned).as_slice()),
            ("SET LOCAL row_security = off", &unfiltered),
        ] {
            let outcomes = session.attempt_all(setup, attempts).await?;
            for (sql, found) in attempts.iter().zip(outcomes) {
                if found != Outcome::Refused {
                    failures.push(format!("{login} as {role} runs {sql} ({setup}): {found}"));
                }
            }
        }
        let statistics = "SELECT tablename::text FROM pg_stats WHERE schemaname IN ('identity', 'data')";
        let found = session.attempt(statistics).await?;
        if found.reaches() {
            failures.push(format!("{login} as {role} reads statistics of tables: {found}"));
        }
        Ok(())
    })
    .await?;
    report(&failures)
}

/// Replication copies the files of the cluster, past every policy.
#[tokio::test]
async fn no_login_can_replicate() -> Result<()> {
    let (database, intent) = (seeded().await?, Intent::read());
    let psql = Installation::require(|line| eprintln!("{line}"))?
        .bin
        .join("psql");
    for login in intent.logins.keys() {
        let psql = tokio::process::Command::new(&psql)
            .args([
                "--no-psqlrc",
                "--command",
                "IDENTIFY_SYSTEM",
                "replication=database",
            ])
            .envs(database.libpq(login))
            .output()
            .await?;
        let errors = String::from_utf8_lossy(&psql.stderr);
        // Until Postgres 15 and since.
        let refused = ["role to start walsender", "permission denied to start WAL sender"];
        assert!(
            refused.iter().any(|message| errors.contains(message)),
            "{login}: {errors}"
        );
    }
    Ok(())
}

/// Runs `attempts` for each login, as itself and as each role that it may become, with person A as the caller.
async fn for_each_role(
    database: &Database,
    intent: &Intent,
    mut attempts: impl AsyncFnMut(&mut Session, &String, &str) -> Result<()>,
) -> Result<()> {
    for (login, roles) in &intent.logins {
        let mut session = Session::open(database, login).await?;
        for role in [None]
            .into_iter()
            .chain(roles.iter().map(|role| Some(role.as_str())))
        {
            session.begin(role, Caller::PersonA).await?;
            attempts(&mut session, login, role.unwrap_or("no role set")).await?;
            session.rollback().await?;
        }
    }
    Ok(())
}
