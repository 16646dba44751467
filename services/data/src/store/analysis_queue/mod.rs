//! The queue of analysis jobs: the SQL of AnalysisQueueService, across all people.
//!
//! A statement that changes several jobs skips those that another transaction has locked (`SKIP LOCKED`). So it never
//! holds one job while it waits for another, and cannot deadlock with an erasure, which locks a person's jobs in any
//! order.

mod complete_jobs;
mod expire;
mod extend_lease;
mod fail_job;
mod lease_error;
mod lease_jobs;
mod list_dead_jobs;
pub mod requeue_job;

pub use self::{
    complete_jobs::Completed, expire::Expired, lease_error::LeaseError, list_dead_jobs::DeadJobCursor,
};

use std::sync::Arc;

use haven_platform::{
    database::{Context, Database, DbError},
    deadline::Deadline,
};

use crate::domain::job::{PRIORITY_AUTOMATIC, PRIORITY_REQUESTED};

/// The queue of analysis jobs.
#[derive(Clone, Debug)]
pub struct Queue {
    database: Arc<Database>,
}

// === impl Queue ===

impl Queue {
    /// Returns the queue in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Returns the number of seconds that the oldest due job has been waiting; 0 when no job is due. The cost does not
    /// depend on the number of jobs.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn oldest_due(&self, deadline: Deadline) -> Result<f64, DbError> {
        let mut tx = self
            .database
            .begin("Queue.oldest_due", Context::Service, deadline)
            .await?;
        // The oldest job of each priority is the first entry of an index.
        let seconds = sqlx::query_scalar!(
            r#"
            SELECT /* Queue.oldest_due */
                   greatest(0, max(extract(epoch FROM now() - oldest.start_after)))::float8 AS "seconds!"
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
