//! The blocks that a statement touches, with those of its functions, triggers and foreign keys, by table and index.

use std::{collections::BTreeMap, fmt::Write};

use anyhow::{Context, Result, ensure};
use sqlx::{AssertSqlSafe, PgConnection, Row, raw_sql};

use super::statement::Statement;

/// The blocks that this session has touched in the transaction, of the tables of both schemas and of their indexes. Unlike those of
/// EXPLAIN, they include what triggers read after the statement.
const TOUCHED: &str =
    "SELECT c.oid::regclass::text AS relation, pg_stat_get_xact_blocks_fetched(c.oid) AS blocks
    FROM pg_class AS c WHERE c.relnamespace IN ('identity'::regnamespace, 'data'::regnamespace)
        AND pg_stat_get_xact_blocks_fetched(c.oid) > 0";

/// The plans that Postgres makes for a prepared statement: it takes one or the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Plans {
    /// For the arguments of each execution.
    Custom,
    /// Once, without the arguments.
    Generic,
}

/// Numbers of blocks by relation.
#[derive(Debug, Default)]
pub(super) struct Blocks(BTreeMap<String, i64>);

impl Blocks {
    /// The blocks of all relations.
    pub(super) fn sum(&self) -> i64 {
        self.0.values().sum()
    }

    /// Describes the growth since `before`, and the relations with most of it.
    pub(super) fn compared_with(&self, before: &Self) -> String {
        let mut grown: Vec<_> = self.since(before).0.into_iter().collect();
        grown.sort_by_key(|(_, blocks)| -blocks);
        let mut text = format!("{} blocks, {} before", self.sum(), before.sum());
        for (relation, blocks) in grown.into_iter().take(3) {
            let _ = write!(text, ", {relation} {blocks:+}");
        }
        text
    }

    fn since(&self, before: &Self) -> Self {
        let since = self.0.iter().map(|(relation, blocks)| {
            let before = before.0.get(relation).copied().unwrap_or_default();
            (relation.clone(), blocks - before)
        });
        Self(since.collect())
    }
}

/// Executes the statement as its caller, and returns the blocks that its second execution touched: the first one fills the
/// caches of the session. Neither is committed.
pub(super) async fn measure(
    connection: &mut PgConnection,
    statement: &Statement,
    caller: usize,
    plans: Plans,
) -> Result<Blocks> {
    execute(connection, statement, caller, plans).await?;
    execute(connection, statement, caller, plans).await
}

async fn execute(
    connection: &mut PgConnection,
    statement: &Statement,
    caller: usize,
    plans: Plans,
) -> Result<Blocks> {
    run(connection, "BEGIN").await?;
    let mode = match plans {
        Plans::Custom => "force_custom_plan",
        Plans::Generic => "force_generic_plan",
    };
    run(connection, &format!("SET LOCAL plan_cache_mode = {mode}")).await?;
    run(connection, &statement.before(caller))
        .await
        .context("before")?;
    run(connection, &statement.prepare(caller)?)
        .await
        .context("prepare")?;
    let execute = statement.execute(caller);
    // Planning reads the ends of indexes. A generic plan is kept for the execution, and a custom one is made again.
    let began = touched(connection).await?;
    run(connection, &format!("EXPLAIN {execute}")).await?;
    let planned = touched(connection).await?;
    let rows = run(connection, &execute).await?;
    ensure!(
        rows == statement.rows(),
        "the statement returned or changed {rows} rows instead of {}",
        statement.rows()
    );
    let done = touched(connection).await?;
    run(connection, "ROLLBACK; DEALLOCATE growth").await?;
    let executed = done.since(&planned);
    Ok(match plans {
        Plans::Custom => executed.since(&planned.since(&began)),
        Plans::Generic => executed,
    })
}

/// Runs statements, and returns the number of rows that the last one returned or changed.
async fn run(connection: &mut PgConnection, sql: &str) -> Result<u64> {
    Ok(raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(connection)
        .await?
        .rows_affected())
}

async fn touched(connection: &mut PgConnection) -> Result<Blocks> {
    let mut blocks = Blocks::default();
    for row in raw_sql(TOUCHED).fetch_all(connection).await? {
        blocks.0.insert(row.try_get("relation")?, row.try_get("blocks")?);
    }
    Ok(blocks)
}
