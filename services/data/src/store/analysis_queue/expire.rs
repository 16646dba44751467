//! Expired leases: returns their jobs to the queue.

use haven_platform::{
    database::{Context, DbError, TenantTx},
    deadline::Deadline,
};

use super::Queue;
use crate::{
    domain::retry_delay::RETRY_DELAYS,
    job_metrics::{Outcome, count},
};

/// The numbers of jobs with expired leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    /// The jobs that are queued again, after a retry delay.
    pub queued: u64,
    /// The jobs that are dead.
    pub dead: u64,
}

// === impl Queue ===

impl Queue {
    /// Returns up to 100 jobs with expired leases to the queue, with the delay of a failed attempt. A job without
    /// attempts left becomes dead.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn expire(&self, deadline: Deadline) -> Result<Expired, DbError> {
        let mut tx = self
            .database
            .begin("Queue.expire", Context::Service, deadline)
            .await?;
        let expired = expire(&mut tx).await?;
        tx.commit().await?;
        expired.count();
        Ok(expired)
    }
}

// === impl Expired ===

impl Expired {
    /// Counts the jobs in the metrics. To be called after the commit.
    pub(super) fn count(self) {
        count(Outcome::Expired, self.queued);
        count(Outcome::Dead, self.dead);
    }
}

/// Ends expired leases as [`Queue::expire`] does, within a transaction.
pub(super) async fn expire(tx: &mut TenantTx) -> Result<Expired, DbError> {
    // A delay here too: a message that crashes workers must not crash three at once. MATERIALIZED, here and wherever
    // jobs are taken: a CTE that is inlined into the join may run its LIMIT several times, and take more jobs.
    let expired = sqlx::query!(
        r#"
        WITH /* Queue.expire */ ended AS MATERIALIZED (
            SELECT user_id, id FROM data.analysis_jobs
            WHERE state = 'leased' AND lease_expires_at <= now()
            ORDER BY lease_expires_at
            LIMIT 100
            FOR NO KEY UPDATE SKIP LOCKED
        ), expired AS (
            UPDATE data.analysis_jobs AS job
            SET state = CASE WHEN attempts < retry_limit THEN 'queued' ELSE 'dead' END,
                start_after = CASE WHEN attempts < retry_limit
                    THEN now() + make_interval(secs =>
                        ($1::float8[])[least(retry_limit - attempts, cardinality($1))] * (0.5 + random()))
                    ELSE start_after END,
                finished_at = CASE WHEN attempts < retry_limit THEN NULL ELSE now() END,
                lease_token = NULL, lease_holder = NULL, lease_expires_at = NULL, last_error = 'LEASE_EXPIRED'
            FROM ended WHERE job.user_id = ended.user_id AND job.id = ended.id
            RETURNING state
        )
        SELECT count(*) FILTER (WHERE state = 'queued') AS "queued!", count(*) FILTER (WHERE state = 'dead') AS "dead!"
        FROM expired"#,
        &RETRY_DELAYS,
    )
    .fetch_one(tx)
    .await?;
    Ok(Expired {
        queued: expired.queued.unsigned_abs(),
        dead: expired.dead.unsigned_abs(),
    })
}
