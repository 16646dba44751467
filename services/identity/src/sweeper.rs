//! Deletes what has expired, again and again: limits whose time has come, dead sessions and their tokens, requests that
//! nobody retries any more, and the audit log's old end.

use std::time::Duration;

use chrono::TimeDelta;
use haven_platform::{database::DbError, entropy::Entropy};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::store::retention::Retention;

/// How often expired rows are looked for.
const TICK: Duration = Duration::from_secs(60);

/// The audit log is trimmed at each of so many ticks: once an hour.
const TRIM_TICKS: u64 = 60;

/// Within which time after the start the first look is, at random: replicas start together, and a look takes milliseconds.
const SPREAD: Duration = Duration::from_secs(5);

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
        let mut random = [0];
        self.entropy.fill(&mut random);
        let mut ticks = interval_at(Instant::now() + first_delay(random[0]), TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_out = false;
        for tick in 0u64.. {
            let round = async {
                ticks.tick().await;
                self.round(tick.is_multiple_of(TRIM_TICKS)).await
            };
            // A round that is cut short is taken back by the database.
            tokio::select! {
                () = stop.cancelled() => return,
                outcome = round => report(&mut is_out, outcome),
            }
        }
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

/// `random` as a part of [`SPREAD`].
fn first_delay(random: u8) -> Duration {
    SPREAD * u32::from(random) / 256
}

fn count(table: String, rows: u64) {
    metrics::counter!("haven_swept_rows_total", "table" => table).increment(rows);
}

/// Says an outage once when it begins, and once when it ends.
fn report(is_out: &mut bool, outcome: Result<(), DbError>) {
    match outcome {
        Err(error) => {
            if !*is_out {
                tracing::warn!(%error, "what has expired cannot be deleted");
            }
            *is_out = true;
        }
        Ok(()) => {
            if *is_out {
                tracing::info!("what has expired is deleted again");
            }
            *is_out = false;
        }
    }
}

/// Says what the metrics of this file mean, for whoever scrapes them.
pub fn describe_metrics() {
    metrics::describe_counter!(
        "haven_swept_rows_total",
        metrics::Unit::Count,
        "Rows that were deleted because they had expired, by table"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_begin_at_different_times_and_soon() {
        assert_eq!(first_delay(0), Duration::ZERO);
        assert_ne!(first_delay(1), first_delay(2));
        assert!(first_delay(255) < SPREAD);
    }

    #[test]
    fn an_outage_lasts_until_a_round_is_done() {
        let mut is_out = false;
        report(&mut is_out, Err(DbError::unexpected("x")));
        assert!(is_out);
        report(&mut is_out, Err(DbError::unexpected("x")));
        assert!(is_out);
        report(&mut is_out, Ok(()));
        assert!(!is_out);
    }
}
