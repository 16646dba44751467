//! What is kept for a time only: deleting what nobody needs any more. What that is, the database's functions say.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use haven_platform::{
    database::{Context, Database, DbError},
    deadline::Deadline,
};
use sqlx::postgres::types::PgInterval;

/// How long one round may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Deletes what has expired, as the service.
#[derive(Clone, Debug)]
pub struct Retention {
    database: Arc<Database>,
}

/// What one round deleted of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swept {
    /// The table, without its schema.
    pub table: String,
    /// How many rows.
    pub rows: u64,
}

impl Retention {
    /// What expires in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Deletes up to `batch` expired rows of each table.
    ///
    /// # Errors
    ///
    /// When the database fails. Nothing was deleted then, unless it was the answer that got lost.
    pub async fn sweep(&self, batch: i32) -> Result<Vec<Swept>, DbError> {
        let mut tx = self
            .database
            .begin("Retention.sweep", Context::Service, Deadline::after(TIMEOUT))
            .await?;
        let rows = sqlx::query!(
            r#"/* Retention.sweep */
            SELECT swept AS "table!", count AS "rows!" FROM identity.sweep($1)"#,
            batch,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        let swept = rows.into_iter().map(|row| Swept {
            table: row.table,
            rows: row.rows.unsigned_abs(),
        });
        Ok(swept.collect())
    }

    /// Deletes the audit events that are older than `retention`, of up to `people` people. Answers how many; 0: there are no
    /// more.
    ///
    /// # Errors
    ///
    /// When the database fails. Nothing was deleted then, unless it was the answer that got lost.
    pub async fn trim_audit_log(&self, retention: TimeDelta, people: i32) -> Result<u64, DbError> {
        let mut tx = self
            .database
            .begin("Retention.trim", Context::Service, Deadline::after(TIMEOUT))
            .await?;
        let deleted = sqlx::query_scalar!(
            r#"/* Retention.trim */ SELECT identity.trim_audit_log($1, $2) AS "deleted!""#,
            PgInterval {
                months: 0,
                days: 0,
                microseconds: retention.num_microseconds().unwrap_or(i64::MAX),
            },
            people,
        )
        .fetch_one(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(deleted.unsigned_abs())
    }
}
