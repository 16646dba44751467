//! The statistics of statements and tables, as `deploy/postgres/queries.sql` selects them.

use anyhow::{Context, Result};
use serde::Serialize;
use sqlx::{FromRow, PgConnection, Row};

use crate::{database::Database, secrets::SUPERUSER};

/// The SQL, which `psql` runs too.
const SQL: &str = include_str!("../../deploy/postgres/queries.sql");

/// The login that reads statistics.
pub const LOGIN: &str = "haven_monitor";

/// What a server has counted since its statistics were reset.
#[derive(Debug, Default, Serialize)]
pub struct Queries {
    /// The statements, from the most expensive one.
    pub statements: Vec<Statement>,
    /// The tables, from the one with the most rows read by sequential scans.
    pub tables: Vec<Table>,
}

/// All executions of the statements with one name, by one role.
#[derive(Debug, FromRow, Serialize)]
pub struct Statement {
    /// The name, which begins with the RPC, such as `AppendMessage`. `(no name)` stands for all others.
    pub statement: String,
    /// The role that ran it, such as `data_user`.
    pub role: String,
    /// The number of executions.
    pub calls: i64,
    /// The share of the time of all statements, in percent.
    pub share_percent: f64,
    /// The time of all executions, in milliseconds.
    pub total_ms: f64,
    /// The mean time of an execution, in milliseconds.
    pub mean_ms: f64,
    /// The mean number of rows that an execution returned or changed.
    pub rows_per_call: f64,
    /// The mean number of blocks of 8 KiB that an execution read, from memory or from disk.
    pub blocks_per_call: f64,
    /// The tables in it that were read from end to end, with the mean number of rows, where that is 1,000 or more.
    pub whole_tables: String,
}

/// How the rows of a table were reached.
#[derive(Debug, FromRow, Serialize)]
pub struct Table {
    /// The table with its schema.
    pub table_name: String,
    /// The estimated number of rows.
    pub live_rows: i64,
    /// The estimated number of rows that VACUUM has to remove.
    pub dead_rows: i64,
    /// The number of scans of its indexes.
    pub index_scans: i64,
    /// The number of scans from end to end.
    pub sequential_scans: i64,
    /// The mean number of rows that such a scan read.
    pub rows_per_sequential_scan: i64,
    /// The share of its blocks that were in Postgres' own memory, in percent.
    pub cached_percent: f64,
}

/// Creates the extension with the statistics of statements in `database`, unless it exists. The module has to be loaded.
///
/// # Errors
///
/// If the server lacks the module.
pub async fn enable(database: &Database) -> Result<()> {
    let create = "SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS pg_stat_statements";
    database.run(SUPERUSER, create).await
}

impl Queries {
    /// Reads the statistics of the database that `connection` is connected to.
    ///
    /// # Errors
    ///
    /// If the database has no extension `pg_stat_statements`, or does not answer.
    pub async fn read(connection: &mut PgConnection) -> Result<Self> {
        let rows = sqlx::raw_sql(SQL).fetch_all(connection).await;
        let rows = rows.with_context(|| {
            "pg_stat_statements cannot be read: it has to be among shared_preload_libraries, and an extension of this database"
        })?;
        let mut queries = Self::default();
        for row in rows {
            match row.try_column("table_name") {
                Ok(_) => queries.tables.push(Table::from_row(&row)?),
                Err(_) => queries.statements.push(Statement::from_row(&row)?),
            }
        }
        Ok(queries)
    }
}
