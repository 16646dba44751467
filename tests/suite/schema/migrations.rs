//! The migrations: pairs of up and down, each under `row_security = off`, and each reversible.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use haven_testkit::{
    bootstrap::SUPERUSER_GRANTS,
    database::Database,
    installation::Installation,
    secrets::{ADMIN, SUPERUSER},
    workspace,
};
use sqlx::{
    AssertSqlSafe, Connection,
    migrate::{MigrationType, Migrator},
};

use super::empty;
use crate::rls;

const SCHEMAS: [&str; 2] = ["identity", "data"];

#[test]
fn every_migration_is_a_pair_under_row_security_off() -> Result<()> {
    for schema in SCHEMAS {
        let mut pairs: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for file in workspace::files(&directory(schema))? {
            let name = file
                .file_name()
                .and_then(|name| name.to_str())
                .context("a name")?;
            let (stem, direction) = name
                .strip_suffix(".sql")
                .and_then(|stem| stem.rsplit_once('.'))
                .context("a pair")?;
            let (version, _) = stem.split_once('_').context("a version and a name")?;
            assert!(
                version.len() == 14 && version.bytes().all(|byte| byte.is_ascii_digit()),
                "{name}: the version has 14 digits"
            );
            let direction = ["up", "down"]
                .into_iter()
                .find(|name| *name == direction)
                .context("up or down")?;
            pairs.entry(stem.to_owned()).or_default().push(direction);
            check_frame(&file)?;
        }
        assert!(!pairs.is_empty(), "{schema} has no migrations");
        for (stem, directions) in pairs {
            assert_eq!(directions, ["down", "up"], "{schema}/{stem}");
        }
    }
    Ok(())
}

/// Checks the first and the last statement. The first makes a row that a policy hides an error; the last lets sqlx
/// write its history, which has policies like every table.
///
/// A migration outside of a transaction has one statement, which reads no row through a policy: Postgres runs several statements of
/// one message in a transaction.
fn check_frame(file: &Path) -> Result<()> {
    let sql = fs::read_to_string(file)?;
    let lines: Vec<&str> = sql
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("--"))
        .collect();
    let name = file.display();
    if sql.starts_with("-- no-transaction\n") {
        let statement = lines.join(" ");
        assert!(
            statement.matches(';').count() == 1 && statement.ends_with(';'),
            "{name} is outside of a transaction, and must have exactly one statement"
        );
        let online = [
            "CREATE INDEX CONCURRENTLY IF NOT EXISTS ",
            "DROP INDEX CONCURRENTLY IF EXISTS ",
        ];
        assert!(
            online.iter().any(|start| statement.starts_with(start)),
            "{name} is outside of a transaction, and must begin with one of {online:?}: when it is interrupted, it runs again"
        );
        return Ok(());
    }
    assert_eq!(
        lines.first(),
        Some(&"SET LOCAL row_security = off;"),
        "the first statement of {name}"
    );
    assert_eq!(
        lines.last(),
        Some(&"SET LOCAL row_security = on;"),
        "the last statement of {name}"
    );
    assert!(
        !sql.contains("no-transaction"),
        "{name}: `-- no-transaction` must be the first line"
    );
    Ok(())
}

/// `squawk` checks new migrations in CI.
#[test]
fn every_exception_from_the_rules_for_running_services_has_a_reason() -> Result<()> {
    for schema in SCHEMAS {
        for file in workspace::files(&directory(schema))? {
            let sql = fs::read_to_string(&file)?;
            let lines: Vec<&str> = sql.lines().collect();
            for pair in lines.windows(2) {
                if pair[1].starts_with("-- squawk-ignore ") {
                    let reason = pair[0].strip_prefix("-- ").unwrap_or_default();
                    assert!(
                        reason.split(' ').count() > 3 && !reason.starts_with("squawk"),
                        "{}: `{}` must follow a comment with its reason",
                        file.display(),
                        pair[1]
                    );
                }
                assert!(
                    !pair[1].contains("squawk-ignore-file"),
                    "{}: each statement has its own exception",
                    file.display()
                );
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn every_migration_can_be_reverted_with_rows_in_its_tables() -> Result<()> {
    let template = empty().await?;
    migrate_and_revert(&template, &Installation::require(|_| ())?).await
}

/// Migrates a new database up, down and up again, beside the migrated database `template` on a server of `installation`.
pub(crate) async fn migrate_and_revert(template: &Database, installation: &Installation) -> Result<()> {
    let structure = |database: &Database| structure(database, installation);
    let full = structure(template)?;
    let database = unmigrated(template).await?;
    // Up one by one, with the structure before each.
    let mut steps = Vec::new();
    for schema in SCHEMAS {
        let mut before = 0;
        for version in versions(schema).await? {
            steps.push((schema, before, structure(&database)?));
            up(&database, schema, version).await?;
            before = version;
        }
    }
    assert_same(&structure(&database)?, &full, "migrated one by one");
    // Down one by one, with rows in the tables: each leads to the structure before it.
    rls::seed_people(&database).await?;
    for (schema, before, expected) in steps.into_iter().rev() {
        let mut owner = database.connect(&format!("{schema}_owner")).await?;
        let undone = migrator(schema).await?.undo(&mut owner, before).await;
        undone.with_context(|| format!("reverting {schema} to {before}"))?;
        assert_same(
            &structure(&database)?,
            &expected,
            &format!("{schema} reverted to {before}"),
        );
    }
    for schema in SCHEMAS {
        up(&database, schema, i64::MAX).await?;
    }
    assert_same(&structure(&database)?, &full, "migrated again");
    template.drop_database(&database.name).await
}

/// A conversation from before there were analyses: the number of the person's messages, which have the odd numbers
/// because the coach answered each; the ranges of the jobs that the migration creates; and the count of pending
/// messages with the number of the first.
struct Earlier(i64, &'static [(i64, i64)], (i16, Option<i64>));

const EARLIER: [Earlier; 4] = [
    Earlier(0, &[], (0, None)),
    Earlier(24, &[], (24, Some(1))),
    Earlier(25, &[(1, 49)], (0, None)),
    Earlier(60, &[(1, 49), (51, 99)], (10, Some(101))),
];

#[tokio::test]
async fn the_migration_creates_a_job_for_every_25_messages_and_counts_the_rest() -> Result<()> {
    let template = empty().await?;
    let database = unmigrated(&template).await?;
    up(&database, "data", 20_261_122_000_600).await?;
    let mut superuser = database.connect(SUPERUSER).await?;
    let mut people = Vec::new();
    for Earlier(messages, jobs, counted) in EARLIER {
        let person: String = sqlx::query_scalar(
            "WITH person AS (
                INSERT INTO data.users (id, created_at) VALUES (gen_random_uuid(), now()) RETURNING id
            ), counter AS (
                INSERT INTO data.conversation_counters (user_id, last_number) SELECT id, 2 * $1 FROM person
            ), messages AS (
                INSERT INTO data.conversations
                    (user_id, id, number, sender_type, message_text, key_id, created_at, updated_at)
                SELECT person.id, gen_random_uuid(), number, CASE number % 2 WHEN 1 THEN 'user' ELSE 'coach' END,
                    'gAAAA', 'test-1', now(), now()
                FROM person, generate_series(1, 2 * $1) AS number
            )
            SELECT id::text FROM person",
        )
        .bind(messages)
        .fetch_one(&mut superuser)
        .await?;
        people.push((person, jobs, counted));
    }
    up(&database, "data", i64::MAX).await?;
    for (person, jobs, counted) in &people {
        let made = "SELECT first_number, last_number FROM data.analysis_jobs
            WHERE user_id = $1::uuid AND state = 'queued' AND NOT requested AND priority = 0 ORDER BY 1";
        let made: Vec<(i64, i64)> = sqlx::query_as(made)
            .bind(person)
            .fetch_all(&mut superuser)
            .await?;
        assert_eq!(&made, jobs);
        let counter =
            "SELECT pending_messages, pending_from FROM data.conversation_counters WHERE user_id = $1::uuid";
        let counter: (i16, Option<i64>) = sqlx::query_as(counter)
            .bind(person)
            .fetch_one(&mut superuser)
            .await?;
        assert_eq!(&counter, counted);
    }
    let jobs: i64 = sqlx::query_scalar("SELECT count(*) FROM data.analysis_jobs")
        .fetch_one(&mut superuser)
        .await?;
    assert_eq!(jobs, 3, "no other jobs");
    superuser.close().await?;
    template.drop_database(&database.name).await
}

/// Creates a database with the objects of the cluster's scripts and sqlx's histories only.
pub(crate) async fn unmigrated(template: &Database) -> Result<Database> {
    let mut database = template.clone();
    // The next run deletes databases with this prefix, in case this run is killed.
    database.name = format!("{}_unmigrated", template.name);
    template
        .run(ADMIN, &format!("CREATE DATABASE {}", database.name))
        .await?;
    database
        .run(
            ADMIN,
            &fs::read_to_string(directory("cluster").join("0002_database.sql"))?,
        )
        .await?;
    database.run(SUPERUSER, SUPERUSER_GRANTS).await?;
    for schema in SCHEMAS {
        up(&database, schema, 0).await?;
    }
    Ok(database)
}

/// sqlx writes the execution time of each migration in a second statement, which policies must not stop.
#[tokio::test]
async fn the_history_is_complete_and_unchanged_by_a_run_without_new_migrations() -> Result<()> {
    let database = empty().await?;
    for schema in SCHEMAS {
        let history = format!("SELECT h::text FROM {schema}._sqlx_migrations h ORDER BY version");
        let unfinished = format!(
            "SELECT count(*) FROM {schema}._sqlx_migrations WHERE execution_time <= 0 OR NOT success"
        );
        let mut superuser = database.connect(SUPERUSER).await?;
        let before: Vec<String> = sqlx::query_scalar(AssertSqlSafe(history.clone()))
            .fetch_all(&mut superuser)
            .await?;
        assert_eq!(before.len(), versions(schema).await?.len());
        let unfinished: i64 = sqlx::query_scalar(AssertSqlSafe(unfinished))
            .fetch_one(&mut superuser)
            .await?;
        assert_eq!(unfinished, 0, "{schema}: sqlx could not update its history");

        migrator(schema)
            .await?
            .run(&mut database.connect(&format!("{schema}_owner")).await?)
            .await?;
        let after: Vec<String> = sqlx::query_scalar(AssertSqlSafe(history))
            .fetch_all(&mut superuser)
            .await?;
        assert_eq!(before, after);
    }
    Ok(())
}

/// Returns the folder of the schema's migrations.
pub(super) fn directory(schema: &str) -> std::path::PathBuf {
    workspace::migrations().join(schema)
}

/// Returns sqlx's migrator for the schema.
async fn migrator(schema: &str) -> Result<Migrator> {
    let mut migrator = Migrator::new(directory(schema)).await?;
    migrator.dangerous_set_table_name(format!("{schema}._sqlx_migrations"));
    Ok(migrator)
}

/// Returns the versions of the schema's migrations, in ascending order.
pub(super) async fn versions(schema: &str) -> Result<Vec<i64>> {
    let migrator = migrator(schema).await?;
    let up = migrator
        .iter()
        .filter(|migration| migration.migration_type == MigrationType::ReversibleUp);
    Ok(up.map(|migration| migration.version).collect())
}

/// Migrates the schema up to `version`. sqlx creates its history first.
pub(crate) async fn up(database: &Database, schema: &str, version: i64) -> Result<()> {
    let mut owner = database.connect(&format!("{schema}_owner")).await?;
    migrator(schema)
        .await?
        .run_to(version, &mut owner)
        .await
        .with_context(|| format!("{schema} to {version}"))
}

/// Dumps the structure of the database as SQL, with privileges and policies.
fn structure(database: &Database, installation: &Installation) -> Result<String> {
    let pg_dump = installation.bin.join("pg_dump");
    let output = Command::new(pg_dump)
        .arg("--schema-only")
        .envs(database.libpq(SUPERUSER))
        .output()?;
    ensure!(
        output.status.success(),
        "pg_dump: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let sql = String::from_utf8(output.stdout)?;
    // The psql commands in it (\restrict) have a random word.
    Ok(sql
        .lines()
        .filter(|line| !line.starts_with('\\'))
        .collect::<Vec<_>>()
        .join("\n"))
}

/// Asserts that two dumps are equal. The failure lists the lines that differ.
fn assert_same(found: &str, expected: &str, what: &str) {
    let missing: Vec<&str> = expected.lines().filter(|line| !found.contains(line)).collect();
    let stray: Vec<&str> = found.lines().filter(|line| !expected.contains(line)).collect();
    assert!(
        found == expected,
        "{what}\nmissing: {missing:#?}\nstray: {stray:#?}"
    );
}
