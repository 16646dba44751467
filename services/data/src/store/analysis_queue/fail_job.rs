//! Attempts that fail: the job rests for a while and is due again, or is dead.
//!
//! The request is remembered first and the attempt is ended after that, as in [`super::job_end`].

use chrono::{DateTime, Utc};
use haven_platform::{
    database::{Context, DbError, TenantTx},
    deadline::Deadline,
};

use super::{Queue, complete_job::LeaseError};
use crate::{
    domain::{
        error_code::ErrorCode,
        lease::{Lease, RESTS},
    },
    job_metrics::{Outcome, count},
    store::request::{RequestKey, retry_once},
};

/// An attempt that failed.
#[derive(Clone, Copy, Debug)]
pub struct Failed<'a> {
    /// Why.
    pub error: &'a ErrorCode,
    /// For how many seconds the job rests before its next attempt, if there is to be one: as [`RESTS`], jittered.
    pub rests: [f64; RESTS.len()],
}

impl Queue {
    /// Ends the attempt at the time `at`, without a result; or, when `request` did so before, changes nothing. Answers
    /// when the job can be leased again; `None`: it is dead.
    ///
    /// # Errors
    ///
    /// As [`Queue::complete`].
    pub async fn fail(
        &self,
        lease: &Lease,
        failed: Failed<'_>,
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
        failed: Failed<'_>,
        request: RequestKey,
        at: DateTime<Utc>,
        deadline: Deadline,
    ) -> Result<Option<DateTime<Utc>>, LeaseError> {
        let mut tx = self
            .database
            .begin("FailJob", Context::ServiceFor(lease.person), deadline)
            .await?;
        // now() stands still within a transaction: what is answered is what is written to the job afterwards.
        let remembered = sqlx::query!(
            r#"/* FailJob, request */
            WITH prior AS (
                SELECT method, payload_mac, answer FROM data.requests WHERE user_id = $1 AND id = $2
            ), request AS (
                INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
                SELECT user_id, $2, 'FailJob', $3,
                    jsonb_build_object('retry_at',
                        CASE WHEN attempts < retry_limit THEN now() + make_interval(secs =>
                            ($7::float8[])[least(retry_limit - attempts, cardinality($7))]) END), $8
                FROM data.analysis_jobs
                WHERE user_id = $1 AND id = $4 AND lease_token = $5 AND attempts = $6
                    AND state = 'leased' AND lease_expires_at > now() AND NOT EXISTS (SELECT FROM prior)
                RETURNING answer
            )
            SELECT true AS "is_new!", true AS "same!", (answer ->> 'retry_at')::timestamptz AS retry_at FROM request
            UNION ALL
            SELECT false, payload_mac = $3 AND method = 'FailJob', (answer ->> 'retry_at')::timestamptz FROM prior"#,
            lease.person.as_uuid(),
            request.id,
            &request.payload_mac,
            lease.job,
            lease.token.expose(),
            lease.attempt,
            &failed.rests,
            at,
        )
        .fetch_optional(&mut tx)
        .await
        .map_err(DbError::from)?;
        let remembered = remembered.ok_or_else(LeaseError::lost)?;
        if !remembered.same {
            return Err(LeaseError::RequestIdReused);
        }
        if remembered.is_new {
            give_back(&mut tx, lease, failed).await?;
        }
        tx.commit().await?;
        if remembered.is_new {
            count_failure(remembered.retry_at);
        }
        Ok(remembered.retry_at)
    }

    /// Ends an attempt that the service itself cannot let a worker make, without a request.
    ///
    /// # Errors
    ///
    /// As [`Queue::complete`].
    pub async fn withdraw(
        &self,
        lease: &Lease,
        failed: Failed<'_>,
        deadline: Deadline,
    ) -> Result<(), LeaseError> {
        let mut tx = self
            .database
            .begin("LeaseJobs.withdraw", Context::Service, deadline)
            .await?;
        let retry_at = give_back(&mut tx, lease, failed).await?;
        tx.commit().await?;
        count_failure(retry_at);
        Ok(())
    }
}

/// Answers when the job can be leased again, if it can.
async fn give_back(
    tx: &mut TenantTx,
    lease: &Lease,
    failed: Failed<'_>,
) -> Result<Option<DateTime<Utc>>, LeaseError> {
    let job = sqlx::query!(
        r#"/* FailJob */
        UPDATE data.analysis_jobs
        SET state = CASE WHEN attempts < retry_limit THEN 'queued' ELSE 'dead' END,
            start_after = CASE WHEN attempts < retry_limit
                THEN now() + make_interval(secs => ($6::float8[])[least(retry_limit - attempts, cardinality($6))])
                ELSE start_after END,
            finished_at = CASE WHEN attempts < retry_limit THEN NULL ELSE now() END,
            lease_token = NULL, lease_holder = NULL, lease_expires_at = NULL, last_error = $5
        WHERE user_id = $1 AND id = $2 AND lease_token = $3 AND attempts = $4
            AND state = 'leased' AND lease_expires_at > now()
        RETURNING CASE WHEN state = 'queued' THEN start_after END AS retry_at"#,
        lease.person.as_uuid(),
        lease.job,
        lease.token.expose(),
        lease.attempt,
        failed.error.as_str(),
        &failed.rests,
    )
    .fetch_optional(tx)
    .await
    .map_err(DbError::from)?;
    Ok(job.ok_or_else(LeaseError::lost)?.retry_at)
}

fn count_failure(retry_at: Option<DateTime<Utc>>) {
    let outcome = match retry_at {
        Some(_) => Outcome::Failed,
        None => Outcome::Dead,
    };
    count(outcome, 1);
}
