//! Deletes what has expired, again and again: requests that nobody retries any more.

use std::time::Duration;

use haven_platform::{database::DbError, deadline::Deadline, entropy::Entropy, rounds::Rounds};
use tokio_util::sync::CancellationToken;

use crate::store::request::Requests;

/// How often expired rows are looked for, which takes milliseconds.
const ROUNDS: Rounds = Rounds {
    name: "sweeper",
    period: Duration::from_secs(60),
};

/// How long one batch may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How many rows go in one transaction: locks are held for milliseconds.
const BATCH: u32 = 1000;

/// Sweeps `requests` until `stop` says so.
pub async fn sweep(requests: Requests, entropy: Entropy, stop: CancellationToken) {
    ROUNDS.run(entropy, stop, |_| round(&requests)).await;
}

async fn round(requests: &Requests) -> Result<(), DbError> {
    loop {
        let swept = requests.sweep(BATCH, Deadline::after(TIMEOUT)).await?;
        metrics::counter!("haven_swept_rows_total", "table" => "requests").increment(swept);
        if swept < u64::from(BATCH) {
            return Ok(());
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
