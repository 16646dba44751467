//! ExtendLease: moves the end of a lease.

use std::time::Duration;

use chrono::{DateTime, Utc};
use haven_platform::{
    database::{Context, DbError},
    deadline::Deadline,
};

use super::{LeaseError, Queue};
use crate::domain::lease::Lease;

impl Queue {
    /// Makes `lease` expire in `duration` from now, and returns that time, by the clock of the database. The call shows that the
    /// worker runs: when the lease then expires, the attempt has failed.
    ///
    /// # Errors
    ///
    /// [`LeaseError::Lost`] when the lease has expired or never existed; [`LeaseError::Database`].
    pub async fn extend(
        &self,
        lease: &Lease,
        duration: Duration,
        deadline: Deadline,
    ) -> Result<DateTime<Utc>, LeaseError> {
        let mut tx = self
            .database
            .begin("ExtendLease", Context::Service, deadline)
            .await?;
        let digest = lease.token.digest();
        let expires_at = sqlx::query_scalar!(
            r#"
            UPDATE /* ExtendLease */ data.analysis_jobs
            SET lease_expires_at = now() + make_interval(secs => $5), extended_attempt = attempts
            WHERE user_id = $1 AND id = $2 AND lease_digest = $3 AND attempts = $4
                AND state = 'leased' AND lease_expires_at > now()
            RETURNING lease_expires_at AS "expires_at!""#,
            lease.person.as_uuid(),
            lease.job,
            digest.as_slice(),
            lease.attempt,
            duration.as_secs_f64(),
        )
        .fetch_optional(&mut tx)
        .await
        .map_err(DbError::from)?;
        tx.commit().await?;
        expires_at.ok_or_else(LeaseError::lost)
    }
}
