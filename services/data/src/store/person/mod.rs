//! People: that they exist, and that they were erased.

pub mod export_data;
pub mod list_audit_events;

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, Database, DbError},
    deadline::Deadline,
};
use sqlx::types::Json;
use thiserror::Error;

/// How many rows are erased in one transaction. It holds its locks for as long as that takes, which is well below the two
/// seconds that identity gives its first attempt.
const ERASED_AT_ONCE: i32 = 5000;

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
    /// Who has much goes in parts. What is gone when this fails, stays gone, and is in the receipt of whoever goes on.
    ///
    /// # Errors
    ///
    /// When the database fails, or everything takes longer than until the deadline.
    pub async fn erase(
        &self,
        person: UserId,
        deadline: Deadline,
        now: DateTime<Utc>,
    ) -> Result<Receipt, DbError> {
        // Somebody who goes on writing meanwhile cannot make this last: once less than a batch is there, the rest goes at
        // once.
        while self.erase_batch(person, deadline).await? >= i64::from(ERASED_AT_ONCE) {}
        let mut tx = self
            .database
            .begin("EraseUser", Context::ServiceFor(person), deadline)
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

    /// Deletes some of what there is of `person`. Answers how many rows.
    async fn erase_batch(&self, person: UserId, deadline: Deadline) -> Result<i64, DbError> {
        let mut tx = self
            .database
            .begin("EraseUser", Context::ServiceFor(person), deadline)
            .await?;
        let gone = sqlx::query_scalar!(
            r#"/* EraseUser, batch */ SELECT data.erase_batch($1) AS "gone!""#,
            ERASED_AT_ONCE,
        )
        .fetch_one(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(gone)
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
