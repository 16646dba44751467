//! RequeueJob: gives a dead job three more attempts.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
    request_key::RequestKey,
};
use thiserror::Error;
use uuid::Uuid;

use super::Queue;
use crate::{
    domain::{
        job::{Job, JobState},
        retry_delay::ATTEMPTS,
    },
    job_metrics::{Outcome, count},
    store::{
        analysis::range,
        request::{id_taken, retry_once},
    },
};

/// The error of RequeueJob.
#[derive(Debug, Error)]
pub enum RequeueError {
    /// The job does not exist, or is not dead.
    #[error("the dead job does not exist")]
    NotFound,
    /// The request id belongs to a request with other content.
    #[error("the request id belongs to another request")]
    RequestIdReused,
    /// The database failed, or did not answer before the deadline.
    #[error(transparent)]
    Database(DbError),
}

// === impl Queue ===

impl Queue {
    /// Gives the dead job `id` of `person` three more attempts at the time `at`, and returns the job. When `request`
    /// was committed before, changes nothing and returns the same answer.
    ///
    /// # Errors
    ///
    /// See [`RequeueError`]. Nothing is changed then, except that after [`RequeueError::Database`] the commit may have
    /// succeeded: a retry gets its answer.
    pub async fn requeue(
        &self,
        person: UserId,
        id: Uuid,
        request: RequestKey,
        at: DateTime<Utc>,
        deadline: Deadline,
    ) -> Result<Job, RequeueError> {
        let is_retryable =
            |error: &RequeueError| matches!(error, RequeueError::Database(error) if id_taken(error));
        retry_once(is_retryable, || {
            self.try_requeue(person, id, request, at, deadline)
        })
        .await
    }

    /// Stores the request id first and changes the job second, as in [`super::fail_job`].
    async fn try_requeue(
        &self,
        person: UserId,
        id: Uuid,
        request: RequestKey,
        at: DateTime<Utc>,
        deadline: Deadline,
    ) -> Result<Job, RequeueError> {
        let mut tx = self
            .database
            .begin("RequeueJob", Context::ServiceFor(person), deadline)
            .await?;
        let stored = sqlx::query!(
            r#"
            WITH /* RequeueJob, request */ prior AS (
                SELECT method, payload_mac, answer FROM data.requests WHERE user_id = $1 AND id = $2
            ), request AS (
                INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
                SELECT user_id, $2, 'RequeueJob', ($3::bytea[])[1],
                    jsonb_build_object('first_number', first_number, 'last_number', last_number,
                        'created_at', created_at), $5
                FROM data.analysis_jobs
                WHERE user_id = $1 AND id = $4 AND state = 'dead' AND NOT EXISTS (SELECT FROM prior)
                RETURNING answer
            )
            SELECT is_new AS "is_new!", same AS "same!", (answer ->> 'first_number')::bigint AS first_number,
                (answer ->> 'last_number')::bigint AS last_number, (answer ->> 'created_at')::timestamptz AS created_at
            FROM (
                SELECT true AS is_new, true AS same, answer FROM request
                UNION ALL
                SELECT false, payload_mac = ANY ($3) AND method = 'RequeueJob', answer FROM prior
            ) AS either"#,
            person.as_uuid(),
            request.id,
            &request.payload_macs.to_vecs() as &[Vec<u8>],
            id,
            at,
        )
        .fetch_optional(&mut tx)
        .await
        .map_err(DbError::from)?;
        let stored = stored.ok_or(RequeueError::NotFound)?;
        if !stored.same {
            return Err(RequeueError::RequestIdReused);
        }
        if stored.is_new {
            // The job no longer counts as requested by its person, who may have requested another one since. Attempts
            // are not reset: an old lease must not become valid again.
            let requeued = sqlx::query!(
                "
                UPDATE /* RequeueJob */ data.analysis_jobs
                SET state = 'queued', requested = false, retry_limit = attempts + $3, lost_leases = 0, start_after = now(),
                    last_error = NULL, finished_at = NULL
                WHERE user_id = $1 AND id = $2 AND state = 'dead'",
                person.as_uuid(),
                id,
                ATTEMPTS,
            )
            .execute(&mut tx)
            .await
            .map_err(DbError::from)?;
            // Another request requeued the job first.
            if requeued.rows_affected() == 0 {
                return Err(RequeueError::NotFound);
            }
        }
        tx.commit().await?;
        if stored.is_new {
            count(Outcome::Requeued, 1);
        }
        let numbers = stored.first_number.zip(stored.last_number);
        let unexpected = || DbError::unexpected("the answer of a request");
        let ((first, last), created_at) = numbers.zip(stored.created_at).ok_or_else(unexpected)?;
        Ok(Job {
            id,
            range: range(first, last)?,
            state: JobState::Queued,
            created_at,
        })
    }
}

// === impl RequeueError ===

impl From<DbError> for RequeueError {
    fn from(error: DbError) -> Self {
        match error.constraint() {
            // An erasure deleted the person and the job.
            Some("requests_user_id_fkey") => Self::NotFound,
            _ => Self::Database(error),
        }
    }
}
