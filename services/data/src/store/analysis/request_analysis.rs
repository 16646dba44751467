//! Asking for an analysis.
//!
//! Whoever makes a job of a person, by asking or by appending a message, holds the lock on the person's counter row. So
//! those who ask and those who write wait for each other, every message is covered by one job, and nobody waits for
//! anybody else's.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError, TenantTx},
    deadline::Deadline,
};
use thiserror::Error;
use uuid::Uuid;

use super::{Analyses, range};
use crate::{
    domain::analysis::{Job, JobState, PRIORITY_REQUESTED},
    store::{
        person_status::{Unknown, why_unknown},
        request::RequestKey,
    },
};

/// How often to try when others change the same at the same time. Each time that it fails somebody else got something
/// done.
const TRIES: u32 = 3;

/// A job that is to be made, if there is something to analyse.
#[derive(Clone, Copy, Debug)]
pub struct NewJob {
    /// Its id.
    pub id: Uuid,
    /// The time at which it is made.
    pub created_at: DateTime<Utc>,
}

/// What came of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The job: a new one, or one that was there.
    pub job: Job,
    /// Whether it is new.
    pub is_new: bool,
}

/// Why there is no job.
#[derive(Debug, Error)]
pub enum AskError {
    /// Every message is covered, and no job that covers one is open.
    #[error("there is nothing to analyse")]
    NothingToAnalyze,
    /// The person is not known here.
    #[error(transparent)]
    Unknown(#[from] Unknown),
    /// The request id belongs to a request with other content.
    #[error("the request id belongs to another request")]
    RequestIdReused,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl Analyses {
    /// Makes the job `new` over the caller's messages that none covers; or answers the one that was asked for and is open;
    /// or, when every message is covered, the open one that covers the newest. When `request` did one of these before,
    /// answers its job as it is now, and changes nothing.
    ///
    /// # Errors
    ///
    /// See [`AskError`]. Nothing was made then, unless it was the database that failed: a retry finds out.
    pub async fn ask(
        &self,
        caller: UserId,
        deadline: Deadline,
        new: NewJob,
        request: RequestKey,
    ) -> Result<Asked, AskError> {
        for _ in 1..TRIES {
            match self.try_ask(caller, deadline, new, request).await {
                // Somebody who does not take the lock used this request id for something else, or was in the way of the new
                // job. What begins now sees it.
                Err(AskError::Database(error))
                    if matches!(
                        error.constraint(),
                        Some(
                            "requests_pkey" | "analysis_jobs_requested_key" | "analysis_jobs_last_number_key"
                        )
                    ) => {}
                outcome => return outcome,
            }
        }
        self.try_ask(caller, deadline, new, request).await
    }

    async fn try_ask(
        &self,
        caller: UserId,
        deadline: Deadline,
        new: NewJob,
        request: RequestKey,
    ) -> Result<Asked, AskError> {
        let mut tx = self
            .database
            .begin("RequestAnalysis", Context::User(caller), deadline)
            .await?;
        // By itself: a statement sees what was there when it began, and this one may wait for somebody who makes a job.
        let locked = sqlx::query_scalar!(
            r#"/* RequestAnalysis, lock */
            SELECT true AS "locked!" FROM data.conversation_counters WHERE user_id = $1 FOR NO KEY UPDATE"#,
            caller.as_uuid(),
        )
        .fetch_optional(&mut tx)
        .await
        .map_err(DbError::from)?;
        if locked.is_none() {
            return self.why_no_counter(tx, caller, deadline).await;
        }
        let row = sqlx::query!(
            r#"/* RequestAnalysis */
            WITH prior AS (
                SELECT method, payload_mac, answer FROM data.requests WHERE user_id = $1 AND id = $2
            ), open AS (
                SELECT id, first_number, last_number, requested, state, created_at, false AS is_new
                FROM data.analysis_jobs
                WHERE user_id = $1 AND state IN ('queued', 'leased') AND NOT EXISTS (SELECT FROM prior)
                ORDER BY requested DESC, last_number DESC
                LIMIT 1
            ), pending AS (
                UPDATE data.conversation_counters SET pending_messages = 0
                WHERE user_id = $1 AND pending_messages > 0
                    AND NOT EXISTS (SELECT FROM prior) AND NOT EXISTS (SELECT FROM open WHERE requested)
                RETURNING pending_from, last_number
            ), made AS (
                INSERT INTO data.analysis_jobs
                    (user_id, id, first_number, last_number, requested, priority, start_after, created_at)
                SELECT $1, $4, pending_from, last_number, true, $5, now(), $6 FROM pending
                RETURNING id, first_number, last_number, requested, state, created_at, true AS is_new
            ), chosen AS (
                SELECT * FROM made
                UNION ALL
                SELECT * FROM open WHERE NOT EXISTS (SELECT FROM made)
            ), request AS (
                INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
                SELECT $1, $2, 'RequestAnalysis', $3, jsonb_build_object('job_id', id), $6 FROM chosen
            )
            SELECT true AS "same!", id, first_number, last_number, state, created_at, is_new AS "is_new!" FROM chosen
            UNION ALL
            SELECT p.payload_mac = $3 AND p.method = 'RequestAnalysis',
                j.id, j.first_number, j.last_number, j.state, j.created_at, false
            FROM prior AS p
                LEFT JOIN data.analysis_jobs AS j ON j.user_id = $1 AND j.id = (p.answer ->> 'job_id')::uuid"#,
            caller.as_uuid(),
            request.id,
            &request.payload_mac,
            new.id,
            PRIORITY_REQUESTED,
            new.created_at,
        )
        .fetch_optional(&mut tx)
        .await
        .map_err(DbError::from)?;
        tx.commit().await?;
        let row = row.ok_or(AskError::NothingToAnalyze)?;
        if !row.same {
            return Err(AskError::RequestIdReused);
        }
        let state = row.state.as_deref().and_then(JobState::from_name);
        match (row.id, row.first_number, row.last_number, state, row.created_at) {
            (Some(id), Some(first), Some(last), Some(state), Some(created_at)) => Ok(Asked {
                job: Job {
                    id,
                    range: range(first, last)?,
                    state,
                    created_at,
                },
                is_new: row.is_new,
            }),
            _ => Err(AskError::Database(DbError::unexpected("the job of a request"))),
        }
    }

    /// Why somebody has no counter: nothing was ever said, or they are not known here.
    async fn why_no_counter(
        &self,
        mut tx: TenantTx,
        caller: UserId,
        deadline: Deadline,
    ) -> Result<Asked, AskError> {
        let is_known = sqlx::query_scalar!(
            r#"/* RequestAnalysis, known */
            SELECT EXISTS (SELECT FROM data.users WHERE id = $1) AS "is_known!""#,
            caller.as_uuid(),
        )
        .fetch_one(&mut tx)
        .await
        .map_err(DbError::from)?;
        tx.commit().await?;
        if is_known {
            return Err(AskError::NothingToAnalyze);
        }
        Err(why_unknown(&self.database, "RequestAnalysis", caller, deadline)
            .await?
            .into())
    }
}
