//! FailJob: ends a failed attempt. The job is queued again after a delay, or is dead.
//!
//! The request id is stored first and the attempt is ended second, in the same transaction. Storing the request id locks
//! the person's row, because of a foreign key. An erasure also locks that row first and the person's jobs second, so
//! the two cannot deadlock: one of them commits, and the other is refused.

use chrono::{DateTime, Utc};
use haven_platform::{
    database::{Context, DbError, TenantTx},
    deadline::Deadline,
    request_key::RequestKey,
};

use super::{LeaseError, Queue};
use crate::{
    domain::{
        job::{DeathCause, FailedAttempt},
        lease::Lease,
    },
    job_metrics::{Outcome, count, count_dead},
    store::request::retry_once,
};

impl Queue {
    /// Ends the attempt of `lease` at the time `at`, and returns the time from which the job can be leased again;
    /// `None` when the job is dead. When `request` was committed before, changes nothing and returns the same answer.
    ///
    /// # Errors
    ///
    /// See [`LeaseError`]. Nothing is stored then, except that after [`LeaseError::Database`] the commit may have
    /// succeeded: a retry gets its answer.
    pub async fn fail(
        &self,
        lease: &Lease,
        failed: FailedAttempt<'_>,
        request: RequestKey,
        at: DateTime<Utc>,
        deadline: Deadline,
    ) -> Result<Option<DateTime<Utc>>, LeaseError> {
        retry_once(LeaseError::id_taken, || {
            self.try_fail(lease, failed, request, at, deadline)
        })
        .await
    }

    async fn try_fail(
        &self,
        lease: &Lease,
        failed: FailedAttempt<'_>,
        request: RequestKey,
        at: DateTime<Utc>,
        deadline: Deadline,
    ) -> Result<Option<DateTime<Utc>>, LeaseError> {
        let mut tx = self
            .database
            .begin("FailJob", Context::ServiceFor(lease.person), deadline)
            .await?;
        // now() is constant within a transaction, so the stored answer is the time that is written to the job
        // afterwards.
        let digest = lease.token.digest();
        let stored = sqlx::query!(
            r#"
            WITH /* FailJob, request */ prior AS (
                SELECT method, payload_mac, answer FROM data.requests WHERE user_id = $1 AND id = $2
            ), request AS (
                INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
                SELECT user_id, $2, 'FailJob', ($3::bytea[])[1],
                    jsonb_build_object('retry_at',
                        CASE WHEN attempts < retry_limit THEN now() + make_interval(secs =>
                            ($7::float8[])[least(retry_limit - attempts, cardinality($7))]) END), $8
                FROM data.analysis_jobs
                WHERE user_id = $1 AND id = $4 AND lease_digest = $5 AND attempts = $6
                    AND state = 'leased' AND lease_expires_at > now() AND NOT EXISTS (SELECT FROM prior)
                RETURNING answer
            )
            SELECT true AS "is_new!", true AS "same!", (answer ->> 'retry_at')::timestamptz AS retry_at FROM request
            UNION ALL
            SELECT false, payload_mac = ANY ($3) AND method = 'FailJob', (answer ->> 'retry_at')::timestamptz FROM prior"#,
            lease.person.as_uuid(),
            request.id,
            &request.payload_macs.to_vecs() as &[Vec<u8>],
            lease.job,
            digest.as_slice(),
            lease.attempt,
            &failed.retry_delays,
            at,
        )
        .fetch_optional(&mut tx)
        .await
        .map_err(DbError::from)?;
        let stored = stored.ok_or_else(LeaseError::lost)?;
        if !stored.same {
            return Err(LeaseError::RequestIdReused);
        }
        if stored.is_new {
            end_attempt(&mut tx, lease, failed).await?;
        }
        tx.commit().await?;
        if stored.is_new {
            count_failure(stored.retry_at);
        }
        Ok(stored.retry_at)
    }

    /// Ends an attempt on behalf of the service, without a request: the job cannot be given to a worker.
    ///
    /// # Errors
    ///
    /// As [`Queue::fail`].
    pub async fn withdraw(
        &self,
        lease: &Lease,
        failed: FailedAttempt<'_>,
        deadline: Deadline,
    ) -> Result<(), LeaseError> {
        let mut tx = self
            .database
            .begin("LeaseJobs.withdraw", Context::Service, deadline)
            .await?;
        let retry_at = end_attempt(&mut tx, lease, failed).await?;
        tx.commit().await?;
        count_failure(retry_at);
        Ok(())
    }
}

/// Ends the attempt, and returns the time from which the job can be leased again; `None` when it is dead.
async fn end_attempt(
    tx: &mut TenantTx,
    lease: &Lease,
    failed: FailedAttempt<'_>,
) -> Result<Option<DateTime<Utc>>, LeaseError> {
    let digest = lease.token.digest();
    let job = sqlx::query!(
        r#"
        UPDATE /* FailJob */ data.analysis_jobs
        SET state = CASE WHEN attempts < retry_limit THEN 'queued' ELSE 'dead' END,
            start_after = CASE WHEN attempts < retry_limit
                THEN now() + make_interval(secs => ($6::float8[])[least(retry_limit - attempts, cardinality($6))])
                ELSE start_after END,
            finished_at = CASE WHEN attempts < retry_limit THEN NULL ELSE now() END,
            lease_token = NULL, lease_holder = NULL, lease_expires_at = NULL, last_error = $5
        WHERE user_id = $1 AND id = $2 AND lease_digest = $3 AND attempts = $4
            AND state = 'leased' AND lease_expires_at > now()
        RETURNING CASE WHEN state = 'queued' THEN start_after END AS retry_at"#,
        lease.person.as_uuid(),
        lease.job,
        digest.as_slice(),
        lease.attempt,
        failed.error.as_str(),
        &failed.retry_delays,
    )
    .fetch_optional(tx)
    .await
    .map_err(DbError::from)?;
    Ok(job.ok_or_else(LeaseError::lost)?.retry_at)
}

/// Counts a failed attempt in the metrics.
fn count_failure(retry_at: Option<DateTime<Utc>>) {
    match retry_at {
        Some(_) => count(Outcome::Failed, 1),
        None => count_dead(DeathCause::FailedAttempts, 1),
    }
}
