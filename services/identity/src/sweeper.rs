//! A background task that deletes expired rows: counts of rate limits, ended sessions and their tokens, requests too
//! old to be retried, device and recovery tokens, the oldest events of the audit log, and the counts of old receipts.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use haven_platform::{database::DbError, entropy::Entropy, periodic::PeriodicTask};
use tokio_util::sync::CancellationToken;

use crate::store::retention::Retention;

/// The task. A round without expired rows takes milliseconds.
const TASK: PeriodicTask = PeriodicTask {
    name: "sweeper",
    period: Duration::from_secs(60),
    limit: Duration::from_secs(10 * 60),
};

/// The number of rounds per trimming of the audit log, which is therefore trimmed once an hour.
const TRIM_ROUNDS: u64 = 60;

/// The maximum number of rows of a table that one transaction deletes, so that locks are held for milliseconds.
const BATCH_SIZE: i32 = 1000;

/// The maximum number of people per transaction that trims audit logs.
const TRIM_BATCH_SIZE: i32 = 100;

/// The table of the audit log, as a label of the metric.
const AUDIT_LOG: &str = "security_audit_log";

/// The table of receipts, as a label of the metric. Their counts and their digests of sign-ups are deleted, and not the rows.
const RECEIPTS: &str = "erasures";

/// The background task's state.
#[derive(Debug)]
pub struct Sweeper {
    retention: Retention,
    audit_retention: TimeDelta,
    receipt_retention: TimeDelta,
    entropy: Entropy,
}

impl Sweeper {
    /// A sweeper that deletes with `retention`, and keeps audit events for `audit_retention` and the counts of receipts for
    /// `receipt_retention`.
    #[must_use]
    pub fn new(
        retention: Retention,
        audit_retention: TimeDelta,
        receipt_retention: TimeDelta,
        entropy: Entropy,
    ) -> Self {
        Self {
            retention,
            audit_retention,
            receipt_retention,
            entropy,
        }
    }

    /// Deletes expired rows periodically until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        let (entropy, sweeper) = (self.entropy.clone(), Arc::new(self));
        let round = |number: u64| {
            let sweeper = Arc::clone(&sweeper);
            async move { sweeper.round(number.is_multiple_of(TRIM_ROUNDS)).await }
        };
        TASK.run(entropy, stop, round).await;
    }

    /// Deletes all expired rows, and trims the audit log when `trims` is set.
    async fn round(&self, trims: bool) -> Result<(), DbError> {
        while self.sweep().await? {}
        if trims {
            while self.trim().await? {}
            while self.trim_receipts().await? {}
        }
        Ok(())
    }

    /// Deletes a batch of each table. Returns whether there may be more expired rows.
    async fn sweep(&self) -> Result<bool, DbError> {
        let swept = self.retention.sweep(BATCH_SIZE).await?;
        let has_more = swept
            .iter()
            .any(|one| one.rows >= u64::from(BATCH_SIZE.unsigned_abs()));
        for one in swept {
            count(one.table, one.rows);
        }
        Ok(has_more)
    }

    /// Forgets the counts of a batch of receipts. Returns whether there may be more.
    async fn trim_receipts(&self) -> Result<bool, DbError> {
        let trimmed = self
            .retention
            .trim_receipts(self.receipt_retention, BATCH_SIZE)
            .await?;
        count(RECEIPTS.to_owned(), trimmed);
        Ok(trimmed >= u64::from(BATCH_SIZE.unsigned_abs()))
    }

    /// Trims the logs of a batch of people. Returns whether there may be more to trim.
    async fn trim(&self) -> Result<bool, DbError> {
        let deleted = self
            .retention
            .trim_audit_log(self.audit_retention, TRIM_BATCH_SIZE)
            .await?;
        count(AUDIT_LOG.to_owned(), deleted);
        Ok(deleted > 0)
    }
}

fn count(table: String, rows: u64) {
    metrics::counter!("haven_swept_rows_total", "table" => table).increment(rows);
}

/// Describes the metrics of this file for scrapers.
pub fn describe_metrics() {
    metrics::describe_counter!(
        "haven_swept_rows_total",
        metrics::Unit::Count,
        "Rows that were deleted because they had expired, by table"
    );
}
