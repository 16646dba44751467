//! Shows the statements that cost most.

use anyhow::{Context, Result};
use clap::Args;
use haven_testkit::{
    queries::{self, Statement, Table},
    secrets::SUPERUSER,
};

use crate::{say, selection};

/// Forgets all statistics of the database.
const RESET: &str = "SELECT pg_stat_statements_reset(), pg_stat_reset()";

/// Show the most expensive statements by the name of their RPC, and how their tables are read.
#[derive(Args)]
pub(crate) struct Queries {
    /// The number of statements and of tables to show
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// Print everything as JSON
    #[arg(long, conflicts_with = "limit")]
    json: bool,
    /// Forget what was counted so far, and count from now on
    #[arg(long, conflicts_with_all = ["limit", "json"])]
    reset: bool,
}

impl Queries {
    /// Prints the statistics of the running installation.
    pub(crate) async fn run(self) -> Result<()> {
        let database = selection::database()?;
        if self.reset {
            database
                .run(SUPERUSER, RESET)
                .await
                .context("resetting the statistics")?;
            say("The statistics count from now on");
            return Ok(());
        }
        let mut found = queries::Queries::read(&mut database.connect(queries::LOGIN).await?).await?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&found)?);
            return Ok(());
        }
        found.statements.truncate(self.limit);
        found.tables.truncate(self.limit);
        println!("{}\n\n{}", statements(&found.statements), tables(&found.tables));
        Ok(())
    }
}

/// Returns a table of statements.
fn statements(statements: &[Statement]) -> String {
    let header = [
        "statement",
        "role",
        "calls",
        "time",
        "total ms",
        "mean ms",
        "rows/call",
        "blocks/call",
        "read whole",
    ];
    let rows = statements.iter().map(|statement| {
        vec![
            statement.statement.clone(),
            statement.role.clone(),
            statement.calls.to_string(),
            format!("{:.1} %", statement.share_percent),
            format!("{:.1}", statement.total_ms),
            format!("{:.3}", statement.mean_ms),
            format!("{:.1}", statement.rows_per_call),
            format!("{:.1}", statement.blocks_per_call),
            statement.whole_tables.clone(),
        ]
    });
    aligned(&header, rows.collect())
}

/// Returns a table of tables.
fn tables(tables: &[Table]) -> String {
    let header = [
        "table",
        "rows",
        "dead",
        "index scans",
        "sequential scans",
        "rows/sequential scan",
        "cached",
    ];
    let rows = tables.iter().map(|table| {
        vec![
            table.table_name.clone(),
            table.live_rows.to_string(),
            table.dead_rows.to_string(),
            table.index_scans.to_string(),
            table.sequential_scans.to_string(),
            table.rows_per_sequential_scan.to_string(),
            format!("{:.1} %", table.cached_percent),
        ]
    });
    aligned(&header, rows.collect())
}

/// Returns rows with aligned columns: text to the left, and columns of numbers to the right.
fn aligned(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let header: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
    let is_number = |column: usize| {
        rows.iter()
            .all(|row| row[column].starts_with(|c: char| c.is_ascii_digit()))
    };
    let columns: Vec<(usize, bool)> = (0..header.len())
        .map(|column| {
            let cells = rows.iter().chain([&header]);
            let width = cells.map(|row| row[column].chars().count()).max().unwrap_or(0);
            (width, is_number(column))
        })
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row
            .iter()
            .zip(&columns)
            .map(|(cell, (width, number))| match number {
                true => format!("{cell:>width$}"),
                false => format!("{cell:<width$}"),
            });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    [&header]
        .into_iter()
        .chain(&rows)
        .map(line)
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_right_aligned_below_their_heading() {
        let rows = [["AppendMessage", "7"], ["GetMessage", "12"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec()).to_vec();
        assert_eq!(
            aligned(&["statement", "calls"], rows),
            "statement      calls\nAppendMessage      7\nGetMessage        12"
        );
    }
}
