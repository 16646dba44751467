//! The queue of jobs, as the service sees it across all people: what ran out, and how long jobs wait. For what workers do
//! with it see [`super::lease`] and [`super::job_end`].
//!
//! Who changes several jobs at once passes over those that somebody else is changing (`SKIP LOCKED`), and so never holds
//! one while waiting for another: erasing a person takes that person's jobs in any order.

pub mod complete_job;
pub mod fail_job;
pub mod lease_jobs;
pub mod list_dead_jobs;

use std::sync::Arc;

use haven_platform::{
    database::{Context, Database, DbError, TenantTx},
    deadline::Deadline,
};

use crate::{
    domain::{
        analysis::{PRIORITY_AUTOMATIC, PRIORITY_REQUESTED},
        lease::RESTS,
    },
    job_metrics::{Outcome, count},
};

/// The jobs, as workers see them.
#[derive(Clone, Debug)]
pub struct Queue {
    pub(in crate::store) database: Arc<Database>,
}

/// What came of leases that ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    /// How many jobs rest now, and are due again after that.
    pub queued: u64,
    /// How many were given up.
    pub dead: u64,
}

// === impl Queue ===

impl Queue {
    /// Those in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Takes jobs back whose leases have run out: they rest as after an attempt that failed, or are given up after their last
    /// one. At most a hundred; the next time finds more.
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

    /// For how many seconds the oldest job that is due has been waiting; 0 when there is none. Costs the same however many
    /// jobs there are.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn oldest_due(&self, deadline: Deadline) -> Result<f64, DbError> {
        let mut tx = self
            .database
            .begin("Queue.oldest_due", Context::Service, deadline)
            .await?;
        // The oldest of each priority, which is an index's first entry.
        let seconds = sqlx::query_scalar!(
            r#"/* Queue.oldest_due */
            SELECT greatest(0, max(extract(epoch FROM now() - oldest.start_after)))::float8 AS "seconds!"
            FROM unnest($1::smallint[]) AS each (priority), LATERAL (
                SELECT start_after FROM data.analysis_jobs AS job
                WHERE job.state = 'queued' AND job.priority = each.priority
                ORDER BY start_after
                LIMIT 1
            ) AS oldest"#,
            &[PRIORITY_AUTOMATIC, PRIORITY_REQUESTED],
        )
        .fetch_one(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(seconds)
    }
}

// === impl Expired ===

impl Expired {
    /// Counts them, once that they are is committed.
    pub(in crate::store) fn count(self) {
        count(Outcome::Expired, self.queued);
        count(Outcome::Dead, self.dead);
    }
}

/// As [`Queue::expire`], within a transaction.
pub(in crate::store) async fn expire(tx: &mut TenantTx) -> Result<Expired, DbError> {
    // They rest, too: a message that brings workers down must not bring down three at once.
    // MATERIALIZED, here and wherever jobs are taken: joined otherwise, a limit that is looked at again takes more.
    let expired = sqlx::query!(
        r#"/* Queue.expire */
        WITH ended AS MATERIALIZED (
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
        &RESTS,
    )
    .fetch_one(tx)
    .await?;
    Ok(Expired {
        queued: expired.queued.unsigned_abs(),
        dead: expired.dead.unsigned_abs(),
    })
}
