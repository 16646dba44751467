//! People: that they exist, and that they were erased.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, Database, DbError},
    deadline::Deadline,
};
use sqlx::types::Json;
use thiserror::Error;

/// The people who can store something.
#[derive(Clone, Debug)]
pub struct People {
    database: Arc<Database>,
}

/// What is kept of somebody who was erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// When everything was gone.
    pub erased_at: DateTime<Utc>,
    /// How many rows there were, for each table that can hold some.
    pub erased: BTreeMap<String, i64>,
}

/// Why a person was not made known.
#[derive(Debug, Error)]
pub enum ProvisionError {
    /// They were erased, and that is for ever.
    #[error("the person was erased")]
    AccountErased,
    /// The database failed.
    #[error(transparent)]
    Database(DbError),
}

impl People {
    /// The people in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Makes `person` known from `now` on, unless they are known already; answers since when they are.
    ///
    /// # Errors
    ///
    /// See [`ProvisionError`].
    pub async fn provision(
        &self,
        person: UserId,
        deadline: Deadline,
        now: DateTime<Utc>,
    ) -> Result<DateTime<Utc>, ProvisionError> {
        if let Some(since) = self.try_provision(person, deadline, now).await? {
            return Ok(since);
        }
        // Somebody else erased them just then: they were there first, and then were not. Now the tombstone is seen.
        let since = self.try_provision(person, deadline, now).await?;
        let gone = || DbError::unexpected("a person who is there cannot be read");
        since.ok_or_else(|| ProvisionError::Database(gone()))
    }

    async fn try_provision(
        &self,
        person: UserId,
        deadline: Deadline,
        now: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, ProvisionError> {
        let mut tx = self
            .database
            .begin("ProvisionUser", Context::ServiceFor(person), deadline)
            .await?;
        let since = sqlx::query_scalar!("/* ProvisionUser */ SELECT data.provision_user($1)", now)
            .fetch_one(&mut tx)
            .await
            .map_err(DbError::from)?;
        tx.commit().await?;
        Ok(since)
    }

    /// Erases everything of `person`, whether they are known or not, and leaves a tombstone; or, when that was done before,
    /// changes nothing. Answers the receipt of the first time.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn erase(
        &self,
        person: UserId,
        deadline: Deadline,
        now: DateTime<Utc>,
    ) -> Result<Receipt, DbError> {
        let mut tx = self
            .database
            .begin("EraseUser", Context::ServiceFor(person), deadline)
            .await?;
        // Who writes a message locks the counter and then, by a foreign key, the person: in the same order neither waits
        // for the other in a circle.
        sqlx::query!(
            "/* EraseUser, counter */
            SELECT FROM data.conversation_counters WHERE user_id = $1 FOR UPDATE",
            person.as_uuid(),
        )
        .fetch_optional(&mut tx)
        .await?;
        let row = sqlx::query!(
            r#"/* EraseUser */
            SELECT erased_at AS "erased_at!", erased AS "erased!: Json<BTreeMap<String, i64>>"
            FROM data.erase_user($1)"#,
            now,
        )
        .fetch_one(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(Receipt {
            erased_at: row.erased_at,
            erased: row.erased.0,
        })
    }
}

impl From<DbError> for ProvisionError {
    fn from(error: DbError) -> Self {
        match error.constraint() {
            Some("tombstones_pkey") => Self::AccountErased,
            _ => Self::Database(error),
        }
    }
}
