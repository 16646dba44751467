//! Completing a job: what was found is stored, and the job is done. For attempts that fail see [`super::job_failure`].
//!
//! The request is remembered first and the job is ended after that, in the same transaction. For remembering it the
//! person's row is locked, by a foreign key, and erasing somebody locks that row first, too, and then the person's
//! jobs: so neither waits for the other in a circle, and of the two at once one is whole and the other is refused.

use chrono::{DateTime, Utc};
use haven_platform::{
    database::{Context, DbError, TenantTx},
    deadline::Deadline,
};
use thiserror::Error;

use super::Queue;
use crate::{
    domain::{
        analysis::{AnalysisType, ChatScore},
        lease::Lease,
        milestone::Milestone,
        sealing::Sealed,
    },
    job_metrics::{Outcome, count},
    store::request::{RequestKey, id_taken, retry_once},
};

/// What an analysis found, to be stored.
#[derive(Debug)]
pub struct NewAnalysis {
    /// What it was for.
    pub analysis_type: AnalysisType,
    /// The score.
    pub chat_score: ChatScore,
    /// What it says, sealed.
    pub details: Sealed,
    /// A milestone that was reached.
    pub triggered_milestone: Option<Milestone>,
    /// The time at which it is stored.
    pub created_at: DateTime<Utc>,
}

/// Why a worker is refused.
#[derive(Debug, Error)]
pub enum LeaseError {
    /// The job is not its own: not any more, or it never was, or it is gone.
    #[error("the lease is lost")]
    Lost,
    /// The request id belongs to a request with other content.
    #[error("the request id belongs to another request")]
    RequestIdReused,
    /// The database failed.
    #[error(transparent)]
    Database(DbError),
}

// === impl Queue ===

impl Queue {
    /// Stores what was found, and ends the job; or, when `request` did so before, changes nothing. Answers when it was
    /// stored.
    ///
    /// # Errors
    ///
    /// See [`LeaseError`]. Nothing was stored then, unless it was the database that failed: a retry finds out.
    pub async fn complete(
        &self,
        lease: &Lease,
        found: &NewAnalysis,
        request: RequestKey,
        deadline: Deadline,
    ) -> Result<DateTime<Utc>, LeaseError> {
        retry_once(LeaseError::id_taken, || {
            self.try_complete(lease, found, request, deadline)
        })
        .await
    }

    async fn try_complete(
        &self,
        lease: &Lease,
        found: &NewAnalysis,
        request: RequestKey,
        deadline: Deadline,
    ) -> Result<DateTime<Utc>, LeaseError> {
        let mut tx = self
            .database
            .begin("CompleteJob", Context::ServiceFor(lease.person), deadline)
            .await?;
        let remembered = sqlx::query!(
            r#"/* CompleteJob, request */
            WITH prior AS (
                SELECT method, payload_mac, answer FROM data.requests WHERE user_id = $1 AND id = $2
            ), request AS (
                INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
                SELECT user_id, $2, 'CompleteJob', $3, jsonb_build_object('created_at', $7::timestamptz), $7
                FROM data.analysis_jobs
                WHERE user_id = $1 AND id = $4 AND lease_token = $5 AND attempts = $6
                    AND state = 'leased' AND lease_expires_at > now() AND NOT EXISTS (SELECT FROM prior)
                RETURNING created_at
            )
            SELECT true AS "is_new!", true AS "same!", created_at FROM request
            UNION ALL
            SELECT false, payload_mac = $3 AND method = 'CompleteJob', (answer ->> 'created_at')::timestamptz FROM prior"#,
            lease.person.as_uuid(),
            request.id,
            &request.payload_mac,
            lease.job,
            lease.token.expose(),
            lease.attempt,
            found.created_at,
        )
        .fetch_optional(&mut tx)
        .await
        .map_err(DbError::from)?;
        let remembered = remembered.ok_or_else(LeaseError::lost)?;
        if !remembered.same {
            return Err(LeaseError::RequestIdReused);
        }
        if remembered.is_new {
            done(&mut tx, lease, found).await?;
        }
        tx.commit().await?;
        if remembered.is_new {
            count(Outcome::Completed, 1);
        }
        let unexpected = || DbError::unexpected("the answer of a request");
        Ok(remembered.created_at.ok_or_else(unexpected)?)
    }
}

async fn done(tx: &mut TenantTx, lease: &Lease, found: &NewAnalysis) -> Result<(), LeaseError> {
    let jobs = sqlx::query!(
        r#"/* CompleteJob */
        WITH job AS (
            UPDATE data.analysis_jobs
            SET state = 'done', lease_token = NULL, lease_holder = NULL, lease_expires_at = NULL, last_error = NULL,
                finished_at = now()
            WHERE user_id = $1 AND id = $2 AND lease_token = $3 AND attempts = $4
                AND state = 'leased' AND lease_expires_at > now()
            RETURNING user_id, id, first_number, last_number
        ), result AS (
            INSERT INTO data.analysis_results (user_id, id, analysis_type, chat_score, first_number, last_number,
                details, key_id, triggered_milestone, created_at)
            SELECT user_id, id, $5, $6, first_number, last_number, $7, $8, $9, $10 FROM job
        )
        SELECT count(*) AS "jobs!" FROM job"#,
        lease.person.as_uuid(),
        lease.job,
        lease.token.expose(),
        lease.attempt,
        found.analysis_type.as_str(),
        found.chat_score.tenths(),
        found.details.token,
        found.details.key_id,
        found.triggered_milestone.as_ref().map(Milestone::as_str),
        found.created_at,
    )
    .fetch_one(tx)
    .await
    .map_err(DbError::from)?;
    match jobs.jobs {
        0 => Err(LeaseError::lost()),
        _ => Ok(()),
    }
}

// === impl LeaseError ===

impl LeaseError {
    /// [`LeaseError::Lost`], and counts it.
    pub(in crate::store) fn lost() -> Self {
        count(Outcome::LeaseLost, 1);
        Self::Lost
    }

    /// Whether the id of the request is taken: by the same request, or by another one.
    pub(in crate::store) fn id_taken(&self) -> bool {
        matches!(self, Self::Database(error) if id_taken(error))
    }
}

impl From<DbError> for LeaseError {
    fn from(error: DbError) -> Self {
        match error.constraint() {
            // The person was erased meanwhile, and the job with them.
            Some("requests_user_id_fkey") => Self::lost(),
            _ => Self::Database(error),
        }
    }
}
