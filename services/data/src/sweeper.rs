//! Deletes what has expired, again and again: requests that nobody retries any more, and what is kept too long of what
//! people deleted and settled in their records.

use std::{collections::HashSet, time::Duration};

use haven_platform::{database::DbError, deadline::Deadline, entropy::Entropy, periodic::PeriodicTask};
use tokio_util::sync::CancellationToken;

use crate::store::{encrypted::cycle::Changes, request::Requests};

/// How often expired rows are looked for, which takes milliseconds.
const ROUNDS: PeriodicTask = PeriodicTask {
    name: "sweeper",
    period: Duration::from_secs(60),
};

/// How long one batch may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How many rows go in one transaction: locks are held for milliseconds.
const BATCH: u32 = 1000;

/// How many people are purged before the next are looked for.
const PEOPLE: i32 = 100;

/// Sweeps `requests` and `changes` until `stop` says so.
pub async fn sweep(requests: Requests, changes: Changes, entropy: Entropy, stop: CancellationToken) {
    ROUNDS.run(entropy, stop, |_| round(&requests, &changes)).await;
}

async fn round(requests: &Requests, changes: &Changes) -> Result<(), DbError> {
    sweep_requests(requests).await?;
    purge_changes(changes).await
}

async fn sweep_requests(requests: &Requests) -> Result<(), DbError> {
    loop {
        let swept = requests.sweep(BATCH, Deadline::after(TIMEOUT)).await?;
        metrics::counter!("haven_swept_rows_total", "table" => "requests").increment(swept);
        if swept < u64::from(BATCH) {
            return Ok(());
        }
    }
}

/// What every device has acknowledged goes with the acknowledgement. Here goes what some device never will: after 180
/// days it has to start over. What fails of one person is left for the next round, and the others' goes all the same.
async fn purge_changes(changes: &Changes) -> Result<(), DbError> {
    let (mut failed, mut failure) = (HashSet::new(), Ok(()));
    loop {
        let (mut purged, known) = (0, failed.len());
        for person in changes
            .people_to_purge(PEOPLE, &failed, Deadline::after(TIMEOUT))
            .await?
        {
            match changes.purge(person, BATCH, Deadline::after(TIMEOUT)).await {
                Ok(count) => purged += count,
                Err(error) => {
                    failed.insert(person);
                    failure = failure.and(Err(error));
                }
            }
        }
        metrics::counter!("haven_swept_rows_total", "table" => "cycle_changes").increment(purged);
        // Not when nobody was found: whoever was may have been purged, or erased, by somebody else meanwhile. And
        // behind those who failed there may be others.
        if purged == 0 && failed.len() == known {
            return failure;
        }
    }
}

/// Says what the metrics of this file mean, for whoever scrapes them.
pub fn describe_metrics() {
    metrics::describe_counter!(
        "haven_swept_rows_total",
        metrics::Unit::Count,
        "Rows that were deleted because they had expired, by table; cycle_changes are tombstones and settled conflicts"
    );
}
