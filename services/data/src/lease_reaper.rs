//! The lease reaper: returns jobs with expired leases to the queue, even when no worker calls, and measures how long
//! jobs wait.

use std::time::Duration;

use haven_platform::{database::DbError, deadline::Deadline, entropy::Entropy, periodic::PeriodicTask};
use tokio_util::sync::CancellationToken;

use crate::{job_metrics, store::analysis_queue::Queue};

/// The period of the lease reaper.
const TASK: PeriodicTask = PeriodicTask {
    name: "lease reaper",
    period: Duration::from_secs(15),
    limit: Duration::from_secs(30),
};

/// The time limit of one round.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Reaps expired leases of `queue` until `stop` is cancelled.
pub async fn run(queue: Queue, entropy: Entropy, stop: CancellationToken) {
    TASK.run(entropy, stop, |_| reap(&queue)).await;
}

/// Ends all expired leases of `queue`, and updates the metric of the oldest due job.
async fn reap(queue: &Queue) -> Result<(), DbError> {
    let deadline = Deadline::after(TIMEOUT);
    loop {
        let expired = queue.expire(deadline).await?;
        if expired.jobs() == 0 {
            break;
        }
    }
    job_metrics::record_oldest_due(queue.oldest_due(deadline).await?);
    Ok(())
}
