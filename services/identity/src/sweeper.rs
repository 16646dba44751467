//! Deletes what has expired, again and again: limits whose time has come, dead sessions and their tokens, requests that
//! nobody retries any more, and the audit log's old end.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use haven_platform::{database::DbError, entropy::Entropy, periodic::PeriodicTask};
use tokio_util::sync::CancellationToken;

use crate::store::retention::Retention;

/// How often expired rows are looked for, which takes milliseconds.
const ROUNDS: PeriodicTask = PeriodicTask {
    name: "sweeper",
    period: Duration::from_secs(60),
};

/// The audit log is trimmed at each of so many rounds: once an hour.
const TRIM_ROUNDS: u64 = 60;

/// How many rows of a table go in one transaction: locks are held for milliseconds.
const BATCH: i32 = 1000;

/// How many people's logs are trimmed in one transaction.
const PEOPLE: i32 = 100;

/// The audit log's name, among the other tables.
const AUDIT_LOG: &str = "security_audit_log";

/// Deletes what has expired.
#[derive(Debug)]
pub struct Sweeper {
    retention: Retention,
    audit_retention: TimeDelta,
    entropy: Entropy,
}

impl Sweeper {
    /// Sweeps by `retention`, and keeps audit events for `audit_retention`.
    #[must_use]
    pub fn new(retention: Retention, audit_retention: TimeDelta, entropy: Entropy) -> Self {
        Self {
            retention,
            audit_retention,
            entropy,
        }
    }

    /// Sweeps until `stop` says so.
    pub async fn run(self, stop: CancellationToken) {
        let (entropy, sweeper) = (self.entropy.clone(), Arc::new(self));
        let round = |number: u64| {
            let sweeper = Arc::clone(&sweeper);
            async move { sweeper.round(number.is_multiple_of(TRIM_ROUNDS)).await }
        };
        ROUNDS.run(entropy, stop, round).await;
    }

    async fn round(&self, trims: bool) -> Result<(), DbError> {
        while self.sweep().await? {}
        if trims {
            while self.trim().await? {}
        }
        Ok(())
    }

    /// Deletes a batch of each table. Answers whether there may be more.
    async fn sweep(&self) -> Result<bool, DbError> {
        let swept = self.retention.sweep(BATCH).await?;
        let has_more = swept
            .iter()
            .any(|one| one.rows >= u64::from(BATCH.unsigned_abs()));
        for one in swept {
            count(one.table, one.rows);
        }
        Ok(has_more)
    }

    /// Trims the logs of some people. Answers whether there may be more.
    async fn trim(&self) -> Result<bool, DbError> {
        let deleted = self
            .retention
            .trim_audit_log(self.audit_retention, PEOPLE)
            .await?;
        count(AUDIT_LOG.to_owned(), deleted);
        Ok(deleted > 0)
    }
}

fn count(table: String, rows: u64) {
    metrics::counter!("haven_swept_rows_total", "table" => table).increment(rows);
}

/// Says what the metrics of this file mean, for whoever scrapes them.
pub fn describe_metrics() {
    metrics::describe_counter!(
        "haven_swept_rows_total",
        metrics::Unit::Count,
        "Rows that were deleted because they had expired, by table"
    );
}
