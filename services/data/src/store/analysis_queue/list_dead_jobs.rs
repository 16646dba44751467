//! Dead jobs: what they are, by keyset, and what gives one three more attempts.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
    page::PageSize,
};
use thiserror::Error;
use uuid::Uuid;

use super::{Queue, expire};
use crate::{
    domain::{
        analysis::{Job, JobState, MessageRange},
        lease::ATTEMPTS,
    },
    job_metrics::{Outcome, count},
    store::{
        analysis::range,
        request::{RequestKey, id_taken, retry_once},
    },
};

/// A job that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadJob {
    /// Whose messages it covers.
    pub person: UserId,
    /// Its id.
    pub id: Uuid,
    /// The messages that it covers.
    pub range: MessageRange,
    /// How often it was tried, since it was made.
    pub attempts: i16,
    /// What went wrong last.
    pub error: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was given up, by the database's clock.
    pub died_at: DateTime<Utc>,
}

/// The place of a dead job in the list: they come in the order in which they died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadPlace {
    /// When it was given up.
    pub died_at: DateTime<Utc>,
    /// Whose messages it covers.
    pub person: Uuid,
    /// Its id.
    pub id: Uuid,
}

/// Some of the dead jobs.
#[derive(Debug)]
pub struct DeadPage {
    /// The longest dead first.
    pub jobs: Vec<DeadJob>,
    /// Whether there are more after them.
    pub more: bool,
}

/// Why a job is not tried again.
#[derive(Debug, Error)]
pub enum RequeueError {
    /// There is no such job, or it is not dead.
    #[error("there is no such dead job")]
    NotFound,
    /// The request id belongs to a request with other content.
    #[error("the request id belongs to another request")]
    RequestIdReused,
    /// The database failed.
    #[error(transparent)]
    Database(DbError),
}

// === impl Queue ===

impl Queue {
    /// At most `size` dead jobs, from the one after `after`, or from the first.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn dead(
        &self,
        after: Option<DeadPlace>,
        size: PageSize,
        deadline: Deadline,
    ) -> Result<DeadPage, DbError> {
        let size = usize::from(size.get());
        // One more than asked for shows whether there is a next page.
        let limit = size as i64 + 1;
        // Before the first that there can be: nobody died before there was anybody.
        let after = after.unwrap_or(DeadPlace {
            died_at: DateTime::UNIX_EPOCH,
            person: Uuid::nil(),
            id: Uuid::nil(),
        });
        let mut tx = self
            .database
            .begin("ListDeadJobs", Context::Service, deadline)
            .await?;
        // What a worker took for the last time and never came back with is dead, whether or not anybody has looked.
        let expired = expire(&mut tx).await?;
        let rows = sqlx::query!(
            r#"/* ListDeadJobs */
            SELECT user_id, id, first_number, last_number, attempts, coalesce(last_error, '') AS "error!",
                created_at, finished_at AS "died_at!"
            FROM data.analysis_jobs
            WHERE state = 'dead' AND (finished_at, user_id, id) > ($1, $2, $3)
            ORDER BY finished_at, user_id, id
            LIMIT $4"#,
            after.died_at,
            after.person,
            after.id,
            limit,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        expired.count();
        let more = rows.len() > size;
        let jobs = rows.into_iter().take(size).map(|row| {
            Ok(DeadJob {
                person: UserId::new(row.user_id),
                id: row.id,
                range: range(row.first_number, row.last_number)?,
                attempts: row.attempts,
                error: row.error,
                created_at: row.created_at,
                died_at: row.died_at,
            })
        });
        Ok(DeadPage {
            jobs: jobs.collect::<Result<_, DbError>>()?,
            more,
        })
    }

    /// At the time `at`, gives the dead job `id` of `person` three more attempts; or, when `request` did so before,
    /// changes nothing. Answers the job as it was after that.
    ///
    /// # Errors
    ///
    /// See [`RequeueError`]. Nothing was changed then, unless it was the database that failed: a retry finds out.
    pub async fn requeue(
        &self,
        person: UserId,
        id: Uuid,
        request: RequestKey,
        at: DateTime<Utc>,
        deadline: Deadline,
    ) -> Result<Job, RequeueError> {
        let again = |error: &RequeueError| matches!(error, RequeueError::Database(error) if id_taken(error));
        retry_once(again, || self.try_requeue(person, id, request, at, deadline)).await
    }

    /// The request first and the job after it, as in [`super::job_end`].
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
        let remembered = sqlx::query!(
            r#"/* RequeueJob, request */
            WITH prior AS (
                SELECT method, payload_mac, answer FROM data.requests WHERE user_id = $1 AND id = $2
            ), request AS (
                INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
                SELECT user_id, $2, 'RequeueJob', $3,
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
                SELECT false, payload_mac = $3 AND method = 'RequeueJob', answer FROM prior
            ) AS either"#,
            person.as_uuid(),
            request.id,
            &request.payload_mac,
            id,
            at,
        )
        .fetch_optional(&mut tx)
        .await
        .map_err(DbError::from)?;
        let remembered = remembered.ok_or(RequeueError::NotFound)?;
        if !remembered.same {
            return Err(RequeueError::RequestIdReused);
        }
        if remembered.is_new {
            // It is the operator who asks for it now: its person may have asked for another one since. Attempts are
            // counted on: a lease from before this must not be one again.
            let requeued = sqlx::query!(
                "/* RequeueJob */
                UPDATE data.analysis_jobs
                SET state = 'queued', requested = false, retry_limit = attempts + $3, start_after = now(), last_error = NULL,
                    finished_at = NULL
                WHERE user_id = $1 AND id = $2 AND state = 'dead'",
                person.as_uuid(),
                id,
                ATTEMPTS,
            )
            .execute(&mut tx)
            .await
            .map_err(DbError::from)?;
            // Another request was first.
            if requeued.rows_affected() == 0 {
                return Err(RequeueError::NotFound);
            }
        }
        tx.commit().await?;
        if remembered.is_new {
            count(Outcome::Requeued, 1);
        }
        let numbers = remembered.first_number.zip(remembered.last_number);
        let unexpected = || DbError::unexpected("the answer of a request");
        let ((first, last), created_at) = numbers.zip(remembered.created_at).ok_or_else(unexpected)?;
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
            // The person was erased meanwhile, and the job with them.
            Some("requests_user_id_fkey") => Self::NotFound,
            _ => Self::Database(error),
        }
    }
}
