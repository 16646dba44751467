//! The deletion of expired rows. SQL functions decide which rows have expired.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use haven_platform::{
    database::{Context, Database, DbError},
    deadline::Deadline,
};
use sqlx::postgres::types::PgInterval;

/// The timeout of one batch.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Deletes expired rows, as the service.
#[derive(Clone, Debug)]
pub struct Retention {
    database: Arc<Database>,
}

/// The number of rows that one batch deleted from a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swept {
    /// The table's name, without the schema.
    pub table: String,
    /// The number of deleted rows.
    pub rows: u64,
}

impl Retention {
    /// Deletes expired rows of `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Deletes up to `batch` expired rows of each table.
    ///
    /// # Errors
    ///
    /// When the database fails. Nothing was deleted, unless only the answer was lost.
    pub async fn sweep(&self, batch: i32) -> Result<Vec<Swept>, DbError> {
        let mut tx = self
            .database
            .begin("Retention.sweep", Context::Service, Deadline::after(TIMEOUT))
            .await?;
        let rows = sqlx::query!(
            r#"
            SELECT /* Retention.sweep */ swept AS "table!", count AS "rows!" FROM identity.sweep($1)"#,
            batch,
        )
        .fetch_all(&mut tx)
        .await?;
        let devices = sqlx::query_scalar!(
            r#"SELECT /* Retention.sweep_devices */ identity.sweep_device_tokens($1) AS "rows!""#,
            batch,
        )
        .fetch_one(&mut tx)
        .await?;
        let recovery = sqlx::query_scalar!(
            r#"SELECT /* Retention.sweep_recovery */ identity.sweep_recovery_tokens($1) AS "rows!""#,
            batch,
        )
        .fetch_one(&mut tx)
        .await?;
        tx.commit().await?;
        let swept = rows.into_iter().map(|row| (row.table, row.rows));
        let swept = swept.chain([
            ("device_tokens".to_owned(), devices),
            ("recovery_tokens".to_owned(), recovery),
        ]);
        Ok(swept
            .map(|(table, rows)| Swept {
                table,
                rows: rows.unsigned_abs(),
            })
            .collect())
    }

    /// Forgets the counts of up to `batch` receipts that were completed longer ago than `retention`. Returns their number.
    ///
    /// # Errors
    ///
    /// When the database fails. Nothing was forgotten, unless only the answer was lost.
    pub async fn trim_receipts(&self, retention: TimeDelta, batch: i32) -> Result<u64, DbError> {
        let mut tx = self
            .database
            .begin("Retention.receipts", Context::Service, Deadline::after(TIMEOUT))
            .await?;
        let trimmed = sqlx::query_scalar!(
            r#"SELECT /* Retention.receipts */ identity.trim_receipts($1, $2) AS "trimmed!""#,
            interval(retention),
            batch,
        )
        .fetch_one(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(trimmed.unsigned_abs())
    }

    /// Deletes audit events that are older than `retention`, of at most `people` people. An old event behind a younger one
    /// of the same person stays. Returns the number of deleted events; 0 when none can be deleted.
    ///
    /// # Errors
    ///
    /// When the database fails. Nothing was deleted, unless only the answer was lost.
    pub async fn trim_audit_log(&self, retention: TimeDelta, people: i32) -> Result<u64, DbError> {
        let mut tx = self
            .database
            .begin("Retention.trim", Context::Service, Deadline::after(TIMEOUT))
            .await?;
        let deleted = sqlx::query_scalar!(
            r#"SELECT /* Retention.trim */ identity.trim_audit_log($1, $2) AS "deleted!""#,
            interval(retention),
            people,
        )
        .fetch_one(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(deleted.unsigned_abs())
    }
}

fn interval(retention: TimeDelta) -> PgInterval {
    PgInterval {
        months: 0,
        days: 0,
        microseconds: retention.num_microseconds().unwrap_or(i64::MAX),
    }
}
