//! Expired leases: returns their jobs to the queue.

use haven_platform::{
    database::{Context, DbError, TenantTx},
    deadline::Deadline,
};

use super::Queue;
use crate::{
    domain::{
        job::DeathCause,
        retry_delay::{LOST_LEASE_DELAYS, RETRY_DELAYS},
    },
    job_metrics::{Outcome, count, count_dead},
};

/// The numbers of jobs with expired leases. A lease is lost when it ended without a call of its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    /// The jobs with a failed attempt that are queued again after a retry delay.
    pub failed: u64,
    /// The jobs with a lost lease that are queued again after a delay, which grows with the number of lost leases.
    pub lost: u64,
    /// The jobs that are dead because all their attempts failed.
    pub dead_of_failures: u64,
    /// The jobs that are dead because they lost too many leases.
    pub dead_of_losses: u64,
}

// === impl Queue ===

impl Queue {
    /// Returns up to 100 jobs with expired leases to the queue. A lease that its worker extended is a failed attempt, with its
    /// delay; any other is a lost lease, which costs no attempt. A job without attempts left, or that has lost one more lease
    /// than there are [`LOST_LEASE_DELAYS`], becomes dead.
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
    /// The number of all jobs.
    #[must_use]
    pub fn jobs(self) -> u64 {
        self.failed + self.lost + self.dead_of_failures + self.dead_of_losses
    }

    /// Counts the jobs in the metrics. To be called after the commit.
    pub(super) fn count(self) {
        count(Outcome::Expired, self.failed);
        count(Outcome::Abandoned, self.lost);
        count_dead(DeathCause::FailedAttempts, self.dead_of_failures);
        count_dead(DeathCause::LostLeases, self.dead_of_losses);
    }
}

/// Ends expired leases as [`Queue::expire`] does, within a transaction.
pub(super) async fn expire(tx: &mut TenantTx) -> Result<Expired, DbError> {
    // MATERIALIZED, here and wherever jobs are taken: a CTE that is inlined into the join may run its LIMIT several times, and
    // take more jobs. A job without a delay is dead: an element beyond the end of an array is NULL. A lost lease raises
    // retry_limit with the attempts, also the last one, so that a job with attempts left died of lost leases.
    let expired = sqlx::query!(
        r#"
        WITH /* Queue.expire */ ended AS MATERIALIZED (
            SELECT user_id, id, extended_attempt IS DISTINCT FROM attempts AS lost,
                CASE WHEN extended_attempt IS DISTINCT FROM attempts THEN ($2::float8[])[lost_leases + 1]
                    WHEN attempts < retry_limit THEN ($1::float8[])[least(retry_limit - attempts, cardinality($1))]
                END AS delay
            FROM data.analysis_jobs
            WHERE state = 'leased' AND lease_expires_at <= now()
            ORDER BY lease_expires_at
            LIMIT 100
            FOR NO KEY UPDATE SKIP LOCKED
        ), expired AS (
            UPDATE data.analysis_jobs AS job
            SET state = CASE WHEN delay IS NULL THEN 'dead' ELSE 'queued' END,
                start_after = coalesce(now() + make_interval(secs => delay * (0.5 + random())), start_after),
                finished_at = CASE WHEN delay IS NULL THEN now() END,
                lost_leases = lost_leases + lost::integer, retry_limit = retry_limit + lost::integer,
                lease_token = NULL, lease_holder = NULL, lease_expires_at = NULL, last_error = 'LEASE_EXPIRED'
            FROM ended WHERE job.user_id = ended.user_id AND job.id = ended.id
            RETURNING state, lost
        )
        SELECT count(*) FILTER (WHERE state = 'queued' AND NOT lost) AS "failed!",
            count(*) FILTER (WHERE state = 'queued' AND lost) AS "lost!",
            count(*) FILTER (WHERE state = 'dead' AND NOT lost) AS "dead_of_failures!",
            count(*) FILTER (WHERE state = 'dead' AND lost) AS "dead_of_losses!"
        FROM expired"#,
        &RETRY_DELAYS,
        &LOST_LEASE_DELAYS,
    )
    .fetch_one(tx)
    .await?;
    Ok(Expired {
        failed: expired.failed.unsigned_abs(),
        lost: expired.lost.unsigned_abs(),
        dead_of_failures: expired.dead_of_failures.unsigned_abs(),
        dead_of_losses: expired.dead_of_losses.unsigned_abs(),
    })
}
