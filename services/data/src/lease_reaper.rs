//! Keeps the queue: takes jobs back whose workers were not heard of again, also when nobody asks for work, and says how
//! long jobs wait.

use std::time::Duration;

use haven_platform::{database::DbError, deadline::Deadline, entropy::Entropy, periodic::PeriodicTask};
use tokio_util::sync::CancellationToken;

use crate::{job_metrics, store::analysis_queue::Queue};

/// How often to look.
const ROUNDS: PeriodicTask = PeriodicTask {
    name: "queue keeper",
    period: Duration::from_secs(15),
};

/// How long one look may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Keeps `queue` until `stop` says so.
pub async fn keep(queue: Queue, entropy: Entropy, stop: CancellationToken) {
    ROUNDS.run(entropy, stop, |_| look(&queue)).await;
}

async fn look(queue: &Queue) -> Result<(), DbError> {
    let deadline = Deadline::after(TIMEOUT);
    loop {
        let expired = queue.expire(deadline).await?;
        if expired.queued + expired.dead == 0 {
            break;
        }
    }
    job_metrics::record_oldest_due(queue.oldest_due(deadline).await?);
    Ok(())
}
