//! The sweeper: deletes expired rows periodically: old request ids, tombstones and settled conflicts of records, ended shares,
//! old audit events, and the counts of old receipts.

use std::{collections::HashSet, time::Duration};

use haven_platform::{database::DbError, deadline::Deadline, entropy::Entropy, periodic::PeriodicTask};
use tokio_util::sync::CancellationToken;

use crate::store::{
    encrypted::cycle::Changes,
    request::Requests,
    retention::{Expired, Retention},
};

/// The period of the sweeper. A search for expired rows takes milliseconds.
const TASK: PeriodicTask = PeriodicTask {
    name: "sweeper",
    period: Duration::from_secs(60),
    limit: Duration::from_secs(10 * 60),
};

/// The time limit of one batch.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The number of rows that one transaction deletes; it holds its locks for milliseconds.
const BATCH_SIZE: u32 = 1000;

/// The number of people that are purged before the next ones are listed.
const PEOPLE_BATCH_SIZE: i32 = 100;

/// Sweeps until `stop` is cancelled.
pub async fn run(
    requests: Requests,
    changes: Changes,
    retention: Retention,
    entropy: Entropy,
    stop: CancellationToken,
) {
    TASK.run(entropy, stop, |_| round(&requests, &changes, &retention))
        .await;
}

/// Deletes everything that expired once. Purges changes last, because they may fail for one person.
async fn round(requests: &Requests, changes: &Changes, retention: &Retention) -> Result<(), DbError> {
    sweep_requests(requests).await?;
    for expired in Expired::ALL {
        sweep_expired(retention, expired).await?;
    }
    purge_changes(changes).await
}

/// Deletes all rows of one kind that expired.
async fn sweep_expired(retention: &Retention, expired: Expired) -> Result<(), DbError> {
    loop {
        let swept = retention
            .sweep(expired, BATCH_SIZE, Deadline::after(TIMEOUT))
            .await?;
        metrics::counter!("haven_swept_rows_total", "table" => expired.name()).increment(swept);
        if swept < u64::from(BATCH_SIZE) {
            return Ok(());
        }
    }
}

/// Deletes old request ids.
async fn sweep_requests(requests: &Requests) -> Result<(), DbError> {
    loop {
        let swept = requests.sweep(BATCH_SIZE, Deadline::after(TIMEOUT)).await?;
        metrics::counter!("haven_swept_rows_total", "table" => "requests").increment(swept);
        if swept < u64::from(BATCH_SIZE) {
            return Ok(());
        }
    }
}

/// Purges deleted records and resolved conflicts that are older than 180 days, acknowledged or not. A device that has not
/// read one of them must then sync from the start. Acknowledged ones are purged by AcknowledgeChanges. A failure for one
/// person is left for the next round, and the other people are purged all the same.
async fn purge_changes(changes: &Changes) -> Result<(), DbError> {
    let (mut failed, mut failure) = (HashSet::new(), Ok(()));
    loop {
        let (mut purged, failed_before) = (0, failed.len());
        for person in changes
            .people_to_purge(PEOPLE_BATCH_SIZE, &failed, Deadline::after(TIMEOUT))
            .await?
        {
            match changes.purge(person, BATCH_SIZE, Deadline::after(TIMEOUT)).await {
                Ok(count) => purged += count,
                Err(error) => {
                    failed.insert(person);
                    failure = failure.and(Err(error));
                }
            }
        }
        metrics::counter!("haven_swept_rows_total", "table" => "cycle_changes").increment(purged);
        // The loop ends when a round purges nothing, not when no person is listed: another replica may have purged, or
        // an erasure deleted, the listed people. After a new failure it goes on, because other people may follow.
        if purged == 0 && failed.len() == failed_before {
            return failure;
        }
    }
}

/// Describes the metrics of this module.
pub fn describe_metrics() {
    metrics::describe_counter!(
        "haven_swept_rows_total",
        metrics::Unit::Count,
        "Expired rows that were deleted, by table; cycle_changes are tombstones and settled conflicts, share_content is that of \
         ended shares, and receipt_counts are those of erasures"
    );
}
