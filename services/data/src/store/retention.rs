//! What the sweeper deletes after a time: content and metadata of shares, audit events, and the counts of receipts.

use std::sync::Arc;

use chrono::TimeDelta;
use haven_platform::{
    database::{Context, Database, DbError},
    deadline::Deadline,
};
use sqlx::postgres::types::PgInterval;

/// The time for which each thing is kept.
#[derive(Clone, Copy, Debug)]
pub struct RetentionPeriods {
    /// Events of the audit log.
    pub audit: TimeDelta,
    /// The metadata of shares, and the attempts to open them, after the end of the share.
    pub share_metadata: TimeDelta,
    /// The counts of receipts, after the erasure.
    pub receipts: TimeDelta,
}

/// What is deleted after a time, of all people.
#[derive(Clone, Debug)]
pub struct Retention {
    database: Arc<Database>,
    periods: RetentionPeriods,
}

/// A kind of rows that expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expired {
    /// The content and the tokens of shares that ended.
    ShareContent,
    /// What is kept of shares longer than their content.
    ShareMetadata,
    /// Events of the audit log.
    AuditEvents,
    /// The counts of receipts.
    ReceiptCounts,
}

// === impl Expired ===

impl Expired {
    /// All kinds, in the order in which the sweeper deletes them.
    pub const ALL: [Self; 4] = [
        Self::ShareContent,
        Self::ShareMetadata,
        Self::AuditEvents,
        Self::ReceiptCounts,
    ];

    /// Returns the label of the metric.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ShareContent => "share_content",
            Self::ShareMetadata => "share_metadata",
            Self::AuditEvents => "security_audit_log",
            Self::ReceiptCounts => "receipt_counts",
        }
    }
}

// === impl Retention ===

impl Retention {
    /// Returns the rows in `database`, which are kept for `periods`.
    #[must_use]
    pub fn new(database: Arc<Database>, periods: RetentionPeriods) -> Self {
        Self { database, periods }
    }

    /// Deletes up to `batch` rows of this kind that expired, and returns their number.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn sweep(&self, expired: Expired, batch: u32, deadline: Deadline) -> Result<u64, DbError> {
        let batch = i32::try_from(batch).unwrap_or(i32::MAX);
        let mut tx = self
            .database
            .begin("Retention.sweep", Context::Service, deadline)
            .await?;
        let swept =
            match expired {
                Expired::ShareContent => sqlx::query_scalar!(
                    r#"SELECT /* Retention.sweep, contents of shares */ data.sweep_shares($1) AS "swept!""#,
                    batch,
                )
                .fetch_one(&mut tx)
                .await?,
                Expired::ShareMetadata => sqlx::query_scalar!(
                    r#"SELECT /* Retention.sweep, shares */ data.sweep_share_metadata($1, $2) AS "swept!""#,
                    interval(self.periods.share_metadata),
                    batch,
                )
                .fetch_one(&mut tx)
                .await?,
                Expired::AuditEvents => sqlx::query_scalar!(
                    r#"SELECT /* Retention.sweep, audit events */ data.trim_audit_log($1, $2) AS "swept!""#,
                    interval(self.periods.audit),
                    batch,
                )
                .fetch_one(&mut tx)
                .await?,
                Expired::ReceiptCounts => {
                    sqlx::query_scalar!(
                        r#"SELECT /* Retention.sweep, receipts */ data.trim_receipts($1, $2) AS "swept!""#,
                        interval(self.periods.receipts),
                        batch,
                    )
                    .fetch_one(&mut tx)
                    .await?
                }
            };
        tx.commit().await?;
        Ok(swept.unsigned_abs())
    }
}

fn interval(period: TimeDelta) -> PgInterval {
    PgInterval {
        months: 0,
        days: 0,
        microseconds: period.num_microseconds().unwrap_or(i64::MAX),
    }
}
