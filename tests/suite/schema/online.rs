//! Migrations beside running services: builds of indexes outside of a transaction, and locks that others hold.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use haven_testkit::{
    binaries::Binaries,
    database::Database,
    secrets::SUPERUSER,
    template::{TestCluster, TestDatabase},
};
use sqlx::{AssertSqlSafe, Connection, PgConnection, raw_sql};
use tokio::{
    process::{Child, Command as Process},
    time::{Duration, sleep, timeout},
};

use crate::{
    eventually::eventually,
    superuser_sql::{execute, scalar},
};

/// A migration of data that builds an index outside of a transaction, the one before it, and the index.
const BUILD: i64 = 20_261_129_001_040;
const BEFORE: i64 = 20_261_129_001_030;
const INDEX: &str = "data.healthcare_share_audit_share_idx";

/// The time in which a migration ends that waits for nothing.
const LIMIT: Duration = Duration::from_secs(30);

/// Creates a migrated database, and reverts what is newer than `version`.
async fn reverted(service: &str, version: i64) -> Result<TestDatabase> {
    let database = TestCluster::shared().await?.database().await?;
    let mut command = Command::new(Binaries::build()?.of(service));
    command
        .args(["migrate", "--undo-to", &version.to_string()])
        .env_clear();
    command.env(
        "MIGRATION_DATABASE_URL",
        database.url(&format!("{service}_owner")),
    );
    let output = command.output()?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(database)
}

/// Starts `migrate` of the service.
fn migrate(database: &Database, service: &str) -> Result<Child> {
    let mut command = Process::new(Binaries::build()?.of(service));
    command.arg("migrate").env_clear().kill_on_drop(true);
    command.env(
        "MIGRATION_DATABASE_URL",
        database.url(&format!("{service}_owner")),
    );
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command.spawn()?)
}

/// Waits for the end of `migrate`, and returns whether it succeeded, and what it printed.
async fn end(migrate: Child) -> Result<(bool, String)> {
    let output = timeout(LIMIT, migrate.wait_with_output())
        .await
        .context("migrate does not end")??;
    let printed = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8(printed)?))
}

/// Begins a transaction with a snapshot, for which every build of an index waits.
async fn reader(database: &Database) -> Result<PgConnection> {
    let mut reader = database.connect(SUPERUSER).await?;
    raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM data.healthcare_share_audit")
        .execute(&mut reader)
        .await?;
    Ok(reader)
}

/// Waits until the build of the index waits for the reader.
async fn build_waits(database: &Database) {
    eventually("the build waits", async || {
        scalar::<bool>(
            database,
            "SELECT EXISTS (SELECT FROM pg_stat_activity
             WHERE datname = current_database() AND query LIKE '%CREATE INDEX CONCURRENTLY%' AND wait_event = 'virtualxid')",
        )
        .await
    })
    .await;
}

#[tokio::test]
async fn an_interrupted_build_of_an_index_is_named_with_what_to_do_and_the_next_run_builds_it() -> Result<()>
{
    let database = reverted("data", BEFORE).await?;
    let reader = reader(&database).await?;
    let first = migrate(&database, "data")?;
    build_waits(&database).await;
    execute(
        &database,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND query LIKE '%CREATE INDEX CONCURRENTLY%' AND pid <> pg_backend_pid()",
    )
    .await;
    reader.close().await?;
    let drop = format!("DROP INDEX CONCURRENTLY {INDEX}");
    // The run that was interrupted, and every later one until the index is gone.
    for run in [first, migrate(&database, "data")?] {
        let (success, printed) = end(run).await?;
        assert!(
            !success && printed.contains(&format!("index {INDEX} is invalid")) && printed.contains(&drop),
            "{printed}"
        );
    }
    database.run("data_owner", &drop).await?;
    let (success, printed) = end(migrate(&database, "data")?).await?;
    assert!(success, "{printed}");
    built(&database).await;
    Ok(())
}

/// Asserts that the index is valid, and that the history has its migration once.
async fn built(database: &Database) {
    let valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'data.healthcare_share_audit_share_idx'::regclass";
    assert!(scalar::<bool>(database, valid).await);
    let applied = "SELECT max(version) FROM data._sqlx_migrations WHERE success";
    assert!(scalar::<i64>(database, applied).await >= BUILD);
}

/// A build waits for each statement that began before. A run that waits for the lock of another one must not be such a statement.
#[tokio::test]
async fn two_runs_at_once_build_an_index_once() -> Result<()> {
    let database = reverted("data", BEFORE).await?;
    let reader = reader(&database).await?;
    let first = migrate(&database, "data")?;
    build_waits(&database).await;
    let second = migrate(&database, "data")?;
    eventually("the second run is connected", async || {
        let runs = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'data_owner'";
        scalar::<i64>(&database, runs).await >= 3
    })
    .await;
    // The second run asks for the lock again and again.
    sleep(Duration::from_secs(1)).await;
    reader.close().await?;
    for run in [first, second] {
        let (success, printed) = end(run).await?;
        assert!(success, "{printed}");
    }
    built(&database).await;
    Ok(())
}

#[tokio::test]
async fn a_migration_that_waits_for_a_lock_lets_others_go_first_and_is_applied_when_it_gets_it() -> Result<()>
{
    let database = reverted("identity", 20_261_129_000_900).await?;
    let mut long = database.connect(SUPERUSER).await?;
    raw_sql("BEGIN; SELECT count(*) FROM identity.ended_sessions")
        .execute(&mut long)
        .await?;
    let run = migrate(&database, "identity")?;
    eventually("the migration waits for the table", async || {
        scalar::<bool>(
            &database,
            "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'
             AND relation = 'identity.ended_sessions'::regclass)",
        )
        .await
    })
    .await;
    // A request behind the migration waits for less than its own limit.
    let mut request = database.connect(SUPERUSER).await?;
    let select = "SET statement_timeout = '5s'; SELECT count(*) FROM identity.ended_sessions";
    raw_sql(AssertSqlSafe(select)).execute(&mut request).await?;
    raw_sql("COMMIT").execute(&mut long).await?;
    let (success, printed) = end(run).await?;
    assert!(success, "{printed}");
    Ok(())
}
