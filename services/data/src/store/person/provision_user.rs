//! ProvisionUser: creates the row of a person.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError, Effect},
    deadline::Deadline,
};
use thiserror::Error;

use super::People;

/// The error of ProvisionUser.
#[derive(Debug, Error)]
pub enum ProvisionError {
    /// The person was erased, which is final.
    #[error("the person was erased")]
    AccountErased,
    /// The database failed, or did not answer before the deadline.
    #[error(transparent)]
    Database(DbError),
}

// === impl People ===

impl People {
    /// Creates the row of `person` with the creation time `at`, unless it exists, and returns its creation time.
    ///
    /// # Errors
    ///
    /// See [`ProvisionError`].
    pub async fn provision(
        &self,
        person: UserId,
        at: DateTime<Utc>,
        deadline: Deadline,
    ) -> Result<DateTime<Utc>, ProvisionError> {
        if let Some(since) = self.try_provision(person, at, deadline).await? {
            return Ok(since);
        }
        // A concurrent erasure deleted the row between its two reads. The second attempt sees the tombstone.
        let since = self.try_provision(person, at, deadline).await?;
        let unexpected = || DbError::unexpected("the row of a provisioned person");
        since.ok_or_else(|| ProvisionError::Database(unexpected()))
    }

    async fn try_provision(
        &self,
        person: UserId,
        at: DateTime<Utc>,
        deadline: Deadline,
    ) -> Result<Option<DateTime<Utc>>, ProvisionError> {
        let context = Context::ServiceFor(person);
        let row = self
            .database
            .call("ProvisionUser", context, Effect::Repeatable, deadline)
            .fetch_one(|| {
                sqlx::query!(
                    r#"
                    SELECT /* ProvisionUser */ since
                    FROM data.provision_user_1($1, $2, $3)"#,
                    person.as_uuid(),
                    self.database.limits(context),
                    at,
                )
            })
            .await?;
        Ok(row.since)
    }
}

// === impl ProvisionError ===

impl From<DbError> for ProvisionError {
    fn from(error: DbError) -> Self {
        match error.constraint() {
            Some("tombstones_pkey") => Self::AccountErased,
            _ => Self::Database(error),
        }
    }
}
