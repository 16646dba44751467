//! CompleteJob: stores an analysis and ends its job.
//!
//! The request id is stored first and the job is ended second, in the same transaction. Storing the request id locks
//! the person's row, because of a foreign key. An erasure also locks that row first and the person's jobs second, so
//! the two cannot deadlock: one of them commits, and the other is refused.

use chrono::{DateTime, Utc};
use haven_platform::{
    database::{Context, DbError, TenantTx},
    deadline::Deadline,
    request_key::RequestKey,
};
use thiserror::Error;

use super::Queue;
use crate::{
    domain::{analysis::NewAnalysis, lease::Lease, milestone::Milestone},
    job_metrics::{Outcome, count},
    store::request::{id_taken, retry_once},
};

/// The error of ExtendLease, CompleteJob and FailJob.
#[derive(Debug, Error)]
pub enum LeaseError {
    /// The worker does not hold the job: the lease has expired or never existed, or the job was deleted.
    #[error("the lease is lost")]
    Lost,
    /// The request id belongs to a request with other content.
    #[error("the request id belongs to another request")]
    RequestIdReused,
    /// The database failed, or did not answer before the deadline.
    #[error(transparent)]
    Database(DbError),
}

// === impl Queue ===

impl Queue {
    /// Stores `analysis`, ends the job of `lease`, and returns the time at which the analysis was stored. When
    /// `request` was committed before, changes nothing and returns the time of that commit.
    ///
    /// # Errors
    ///
    /// See [`LeaseError`]. Nothing is stored then, except that after [`LeaseError::Database`] the commit may have
    /// succeeded: a retry gets its answer.
    pub async fn complete(
        &self,
        lease: &Lease,
        analysis: &NewAnalysis,
        request: RequestKey,
        deadline: Deadline,
    ) -> Result<DateTime<Utc>, LeaseError> {
        retry_once(LeaseError::id_taken, || {
            self.try_complete(lease, analysis, request, deadline)
        })
        .await
    }

    async fn try_complete(
        &self,
        lease: &Lease,
        analysis: &NewAnalysis,
        request: RequestKey,
        deadline: Deadline,
    ) -> Result<DateTime<Utc>, LeaseError> {
        let mut tx = self
            .database
            .begin("CompleteJob", Context::ServiceFor(lease.person), deadline)
            .await?;
        let digest = lease.token.digest();
        let stored = sqlx::query!(
            r#"
            WITH /* CompleteJob, request */ prior AS (
                SELECT method, payload_mac, answer FROM data.requests WHERE user_id = $1 AND id = $2
            ), request AS (
                INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
                SELECT user_id, $2, 'CompleteJob', ($3::bytea[])[1], jsonb_build_object('created_at', $7::timestamptz), $7
                FROM data.analysis_jobs
                WHERE user_id = $1 AND id = $4 AND lease_digest = $5 AND attempts = $6
                    AND state = 'leased' AND lease_expires_at > now() AND NOT EXISTS (SELECT FROM prior)
                RETURNING created_at
            )
            SELECT true AS "is_new!", true AS "same!", created_at FROM request
            UNION ALL
            SELECT false, payload_mac = ANY ($3) AND method = 'CompleteJob', (answer ->> 'created_at')::timestamptz FROM prior"#,
            lease.person.as_uuid(),
            request.id,
            &request.payload_macs.to_vecs() as &[Vec<u8>],
            lease.job,
            digest.as_slice(),
            lease.attempt,
            analysis.created_at,
        )
        .fetch_optional(&mut tx)
        .await
        .map_err(DbError::from)?;
        let stored = stored.ok_or_else(LeaseError::lost)?;
        if !stored.same {
            return Err(LeaseError::RequestIdReused);
        }
        if stored.is_new {
            end_job(&mut tx, lease, analysis).await?;
        }
        tx.commit().await?;
        if stored.is_new {
            count(Outcome::Completed, 1);
        }
        let unexpected = || DbError::unexpected("the answer of a request");
        Ok(stored.created_at.ok_or_else(unexpected)?)
    }
}

/// Ends the job and stores its analysis.
async fn end_job(tx: &mut TenantTx, lease: &Lease, analysis: &NewAnalysis) -> Result<(), LeaseError> {
    let digest = lease.token.digest();
    let jobs = sqlx::query!(
        r#"
        WITH /* CompleteJob */ job AS (
            UPDATE data.analysis_jobs
            SET state = 'done', lease_token = NULL, lease_holder = NULL, lease_expires_at = NULL, last_error = NULL,
                finished_at = now()
            WHERE user_id = $1 AND id = $2 AND lease_digest = $3 AND attempts = $4
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
        digest.as_slice(),
        lease.attempt,
        analysis.analysis_type.as_str(),
        analysis.chat_score.tenths(),
        analysis.details.token,
        analysis.details.key_id,
        analysis.triggered_milestone.as_ref().map(Milestone::as_str),
        analysis.created_at,
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
    /// Returns [`LeaseError::Lost`], and counts it in the metrics.
    pub(super) fn lost() -> Self {
        count(Outcome::LeaseLost, 1);
        Self::Lost
    }

    /// Returns whether the request id is taken, by the same request or by another one.
    pub(super) fn id_taken(&self) -> bool {
        matches!(self, Self::Database(error) if id_taken(error))
    }
}

impl From<DbError> for LeaseError {
    fn from(error: DbError) -> Self {
        match error.constraint() {
            // An erasure deleted the person and the job.
            Some("requests_user_id_fkey") => Self::lost(),
            _ => Self::Database(error),
        }
    }
}
