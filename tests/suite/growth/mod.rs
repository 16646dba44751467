//! Cost follows the person and not the table: each statement of both services touches as many blocks beside 300,000 other people as
//! beside 1,000.
//!
//! `fill.sql` has the people, and `identity.toml` and `data.toml` have the arguments of each statement. The offline query data of sqlx
//! has the statements, so that none can be forgotten.

mod blocks;
mod statement;

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result};
use haven_testkit::{
    database::Database,
    secrets::SUPERUSER,
    template::{TestCluster, TestDatabase},
    workspace,
};
use sqlx::{AssertSqlSafe, Connection, raw_sql};

use self::{
    blocks::{Blocks, Plans, measure},
    statement::Statement,
};

/// The people who call, each one statement, so that no statement finds what another one left.
const CALLERS: usize = 300;

/// The people beside the callers, at first and in the end.
const FEW: usize = 1_000;
const MANY: usize = 300_000;

/// The most that a statement may touch beside many people, as a multiple of what it touches beside few. A lookup in an index with one
/// level more is 4 blocks to 3.
const FACTOR: f64 = 1.5;

/// Stores the people `from..to`, and collects statistics.
async fn fill(database: &Database, from: usize, to: usize) -> Result<()> {
    let sql = include_str!("fill.sql")
        .replace("{callers}", &CALLERS.to_string())
        .replace("{from}", &from.to_string())
        .replace("{to}", &(to - 1).to_string());
    database.run(SUPERUSER, &sql).await.context("fill.sql")?;
    database.run(SUPERUSER, "VACUUM ANALYZE").await
}

/// Returns the blocks of each statement under each kind of plan.
async fn measured(
    database: &Database,
    statements: &[Statement],
) -> Result<BTreeMap<(String, Plans), Blocks>> {
    let mut connection = database.connect(SUPERUSER).await?;
    // What other processes of a parallel plan read is not counted.
    raw_sql("SET max_parallel_workers_per_gather = 0")
        .execute(&mut connection)
        .await?;
    let mut all = BTreeMap::new();
    for (caller, statement) in statements.iter().enumerate() {
        for plans in [Plans::Custom, Plans::Generic] {
            let blocks = measure(&mut connection, statement, caller, plans).await;
            let blocks = blocks.with_context(|| format!("{} with {plans:?} plans", statement.title()))?;
            all.insert((statement.title(), plans), blocks);
        }
    }
    connection.close().await?;
    Ok(all)
}

/// Returns the tables without a row for each person.
async fn unfilled(database: &Database, people: usize) -> Result<Vec<String>> {
    let mut connection = database.connect(SUPERUSER).await?;
    let tables = "SELECT c.oid::regclass::text FROM pg_class AS c
        WHERE c.relkind = 'r' AND c.relnamespace IN ('identity'::regnamespace, 'data'::regnamespace) ORDER BY 1";
    let mut unfilled = Vec::new();
    for table in sqlx::query_scalar::<_, String>(tables)
        .fetch_all(&mut connection)
        .await?
    {
        let count = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        let rows: i64 = sqlx::query_scalar(count).fetch_one(&mut connection).await?;
        if rows < i64::try_from(people)? {
            unfilled.push(table);
        }
    }
    connection.close().await?;
    Ok(unfilled)
}

async fn start() -> Result<(TestCluster, TestDatabase)> {
    let cluster = TestCluster::on_disk().await?;
    let database = cluster.database().await?;
    Ok((cluster, database))
}

#[tokio::test]
async fn no_statement_touches_more_blocks_when_there_are_more_people() -> Result<()> {
    let statements = Statement::all()?;
    assert!(statements.len() <= CALLERS, "each statement has a caller");
    let (_cluster, database) = start().await?;
    fill(&database, 0, CALLERS + FEW).await?;
    // What is not a row of a person: the feed has one row, the epochs and the histories have few.
    assert_eq!(
        unfilled(&database, FEW).await?,
        [
            "data._sqlx_migrations",
            "data.crisis_feed",
            "data.sync_epochs",
            "identity._sqlx_migrations"
        ],
        "fill.sql has rows for every other table"
    );
    let few = measured(&database, &statements).await?;
    fill(&database, CALLERS + FEW, CALLERS + MANY).await?;
    let many = measured(&database, &statements).await?;

    let mut grown = Vec::new();
    let mut stale = Vec::new();
    for statement in &statements {
        let grows = |plans| {
            let key = (statement.title(), plans);
            let (few, many) = (&few[&key], &many[&key]);
            let grows = many.sum() as f64 > few.sum() as f64 * FACTOR && many.sum() > statement.at_most;
            grows.then(|| format!("{} with {plans:?} plans: {}", key.0, many.compared_with(few)))
        };
        let grows: Vec<_> = [Plans::Custom, Plans::Generic]
            .into_iter()
            .filter_map(grows)
            .collect();
        match &statement.reads_all {
            None => grown.extend(grows),
            Some(_) if grows.is_empty() => stale.push(statement.title()),
            Some(_) => {}
        }
    }
    for ((title, plans), blocks) in &many {
        println!(
            "{title}, {plans:?}: {} blocks, {} before",
            blocks.sum(),
            few[&(title.clone(), *plans)].sum()
        );
    }
    assert!(
        grown.is_empty(),
        "these statements touch more blocks beside {MANY} people than beside {FEW}; give each an index, or a reason in reads_all:\n{}",
        grown.join("\n")
    );
    assert!(
        stale.is_empty(),
        "these have a reason to read every row, and do not: {stale:?}"
    );
    Ok(())
}

#[test]
fn every_statement_of_the_services_has_arguments() -> Result<()> {
    let mut described: Vec<String> = Statement::all()?.iter().map(Statement::title).collect();
    described.sort();
    let mut known = described.clone();
    known.dedup();
    assert_eq!(described, known, "two statements have one name");
    // Each file of the query data was matched by its name, or `all` would have failed.
    for schema in ["identity", "data"] {
        let directory = workspace::root().join("services").join(schema).join(".sqlx");
        let files = fs::read_dir(directory)?.count();
        let prefix = format!("{schema}: ");
        let of_schema = described
            .iter()
            .filter(|title| title.starts_with(&prefix))
            .count();
        assert!(
            of_schema >= files,
            "{schema} has {files} statements, and {of_schema} have arguments"
        );
    }
    Ok(())
}
