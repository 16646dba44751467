//! RequestAnalysis: creates a job for the caller's pending messages, or returns an open one.
//!
//! Every transaction that creates a job for a person, for RequestAnalysis or AppendMessage, locks the person's counter
//! row. So every message is covered by exactly one job, and only callers of the same person wait for each other.

use haven_platform::{
    call::UserId,
    database::{Context, DbError, TenantTx},
    deadline::Deadline,
    request_key::RequestKey,
};
use thiserror::Error;

use super::{Analyses, range};
use crate::{
    domain::job::{Job, JobState, NewJob, PRIORITY_REQUESTED},
    store::person_status::{Unknown, why_unknown},
};

/// The number of attempts when other transactions change the same rows. Each failed attempt means that another
/// transaction succeeded.
const MAX_ATTEMPTS: u32 = 3;

/// The outcome of RequestAnalysis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestedJob {
    /// The job: a new one, or an open one.
    pub job: Job,
    /// True when this call created the job; false for a retry.
    pub is_new: bool,
}

/// The error of RequestAnalysis.
#[derive(Debug, Error)]
pub enum RequestError {
    /// Every message is covered by a job, and no job is open.
    #[error("there is nothing to analyse")]
    NothingToAnalyze,
    /// The person is not provisioned, or was erased.
    #[error(transparent)]
    Unknown(#[from] Unknown),
    /// The request id belongs to a request with other content.
    #[error("the request id belongs to another request")]
    RequestIdReused,
    /// The database failed, or did not answer before the deadline.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl Analyses {
    /// Returns the caller's open requested job, if there is one; otherwise creates `new_job` for the messages that no
    /// job covers; when every message is covered, returns the open job with the newest messages. When `request` was
    /// committed before, changes nothing and returns the current state of the same job.
    ///
    /// # Errors
    ///
    /// See [`RequestError`]. Nothing is created then, except that after [`RequestError::Database`] the commit may have
    /// succeeded: a retry gets its answer.
    pub async fn request(
        &self,
        caller: UserId,
        new_job: NewJob,
        request: RequestKey,
        deadline: Deadline,
    ) -> Result<RequestedJob, RequestError> {
        for _ in 1..MAX_ATTEMPTS {
            match self.try_request(caller, new_job, request, deadline).await {
                // A transaction without the counter's lock stored another request under this id, or a conflicting job.
                // The next attempt sees it.
                Err(RequestError::Database(error))
                    if matches!(
                        error.constraint(),
                        Some(
                            "requests_pkey" | "analysis_jobs_requested_key" | "analysis_jobs_last_number_key"
                        )
                    ) => {}
                outcome => return outcome,
            }
        }
        self.try_request(caller, new_job, request, deadline).await
    }

    async fn try_request(
        &self,
        caller: UserId,
        new_job: NewJob,
        request: RequestKey,
        deadline: Deadline,
    ) -> Result<RequestedJob, RequestError> {
        let mut tx = self
            .database
            .begin("RequestAnalysis", Context::User(caller), deadline)
            .await?;
        // A statement of its own: the next statement's snapshot has to be taken after the wait for the lock.
        let locked = sqlx::query_scalar!(
            r#"
            SELECT /* RequestAnalysis, lock */
                   true AS "locked!" FROM data.conversation_counters WHERE user_id = $1 FOR NO KEY UPDATE"#,
            caller.as_uuid(),
        )
        .fetch_optional(&mut tx)
        .await
        .map_err(DbError::from)?;
        if locked.is_none() {
            return self.why_no_counter(tx, caller, deadline).await;
        }
        let row = sqlx::query!(
            r#"
            WITH /* RequestAnalysis */ prior AS (
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
                SELECT $1, $2, 'RequestAnalysis', ($3::bytea[])[1], jsonb_build_object('job_id', id), $6 FROM chosen
            )
            SELECT true AS "same!", id, first_number, last_number, state, created_at, is_new AS "is_new!" FROM chosen
            UNION ALL
            SELECT p.payload_mac = ANY ($3) AND p.method = 'RequestAnalysis',
                j.id, j.first_number, j.last_number, j.state, j.created_at, false
            FROM prior AS p
                LEFT JOIN data.analysis_jobs AS j ON j.user_id = $1 AND j.id = (p.answer ->> 'job_id')::uuid"#,
            caller.as_uuid(),
            request.id,
            &request.payload_macs.to_vecs() as &[Vec<u8>],
            new_job.id,
            PRIORITY_REQUESTED,
            new_job.created_at,
        )
        .fetch_optional(&mut tx)
        .await
        .map_err(DbError::from)?;
        tx.commit().await?;
        let row = row.ok_or(RequestError::NothingToAnalyze)?;
        if !row.same {
            return Err(RequestError::RequestIdReused);
        }
        let state = row.state.as_deref().and_then(JobState::from_name);
        match (row.id, row.first_number, row.last_number, state, row.created_at) {
            (Some(id), Some(first), Some(last), Some(state), Some(created_at)) => Ok(RequestedJob {
                job: Job {
                    id,
                    range: range(first, last)?,
                    state,
                    created_at,
                },
                is_new: row.is_new,
            }),
            _ => Err(RequestError::Database(DbError::unexpected(
                "the job of a request",
            ))),
        }
    }

    /// Returns the reason why the caller has no counter: no message was ever appended, or the person is unknown.
    async fn why_no_counter(
        &self,
        mut tx: TenantTx,
        caller: UserId,
        deadline: Deadline,
    ) -> Result<RequestedJob, RequestError> {
        let is_known = sqlx::query_scalar!(
            r#"
            SELECT /* RequestAnalysis, known */ EXISTS (SELECT FROM data.users WHERE id = $1) AS "is_known!""#,
            caller.as_uuid(),
        )
        .fetch_one(&mut tx)
        .await
        .map_err(DbError::from)?;
        tx.commit().await?;
        if is_known {
            return Err(RequestError::NothingToAnalyze);
        }
        Err(why_unknown(&self.database, "RequestAnalysis", caller, deadline)
            .await?
            .into())
    }
}
