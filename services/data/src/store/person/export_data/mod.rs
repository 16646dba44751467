//! Everything that there is of a person, a page at a time: what they wrote in [`written`], what their devices encrypted in
//! [`encrypted`], and what they share in [`shared`].
//!
//! Each page is a transaction of its own, which ends before anybody is sent anything: whoever reads slowly holds nothing
//! up. A page costs what is on it, and begins behind the last row of the one before. No row comes twice, because what a
//! page begins behind never changes.

pub mod encrypted;
pub mod shared;
pub mod written;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, Database, DbError, TenantTx},
    deadline::Deadline,
};
use thiserror::Error;
use uuid::Uuid;

use crate::store::person_status::{Unknown, why_unknown};
use haven_platform::cursor::Cursor;

/// At most how many rows are on a page.
const ROWS: i64 = 500;

/// How many bytes of content are on a page, at most, before its last row. With a row of the largest kind, which is a
/// share, that is a third of what an answer may have.
const BYTES: i64 = 1 << 20;

/// What there is of everybody, each reached only as the person whose it is.
#[derive(Clone, Debug)]
pub struct Exports {
    database: Arc<Database>,
}

/// Before everything that comes in the order of time: nothing is from before 1970.
pub const BEGINNING: Cursor = Cursor {
    at: DateTime::UNIX_EPOCH,
    id: Uuid::nil(),
};

/// Why there is nothing to export.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The person is not known here.
    #[error(transparent)]
    Unknown(Unknown),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl Exports {
    /// Of what is in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Writes down that `caller` exports what they have, at `now`.
    ///
    /// # Errors
    ///
    /// See [`ExportError`].
    pub async fn start(
        &self,
        caller: UserId,
        deadline: Deadline,
        now: DateTime<Utc>,
    ) -> Result<(), ExportError> {
        let mut tx = self.begin(caller, deadline).await?;
        let written = sqlx::query!(
            "/* ExportData, start */
            INSERT INTO data.security_audit_log (user_id, event, occurred_at) VALUES ($1, 'data_exported', $2)",
            caller.as_uuid(),
            now,
        )
        .execute(&mut tx)
        .await
        .map_err(DbError::from);
        match written {
            Err(error) if error.constraint() == Some("security_audit_log_user_id_fkey") => {
                drop(tx);
                Err(self.unknown(caller, deadline).await)
            }
            Err(error) => Err(error.into()),
            Ok(_) => Ok(tx.commit().await?),
        }
    }

    /// Checks that `caller` is still known, and not about to be erased: of them something is missing then. Answers
    /// since when they are.
    ///
    /// # Errors
    ///
    /// See [`ExportError`].
    pub async fn finish(&self, caller: UserId, deadline: Deadline) -> Result<DateTime<Utc>, ExportError> {
        let mut tx = self.begin(caller, deadline).await?;
        let since = sqlx::query_scalar!(
            "/* ExportData, finish */
            SELECT created_at FROM data.users AS u
            WHERE id = $1 AND NOT EXISTS (SELECT FROM data.erasures AS e WHERE e.user_id = u.id)",
            caller.as_uuid(),
        )
        .fetch_optional(&mut tx)
        .await
        .map_err(DbError::from)?;
        tx.commit().await?;
        match since {
            Some(since) => Ok(since),
            None => Err(self.unknown(caller, deadline).await),
        }
    }

    async fn unknown(&self, caller: UserId, deadline: Deadline) -> ExportError {
        match why_unknown(&self.database, "ExportData", caller, deadline).await {
            Ok(unknown) => ExportError::Unknown(unknown),
            Err(error) => error.into(),
        }
    }

    async fn begin(&self, caller: UserId, deadline: Deadline) -> Result<TenantTx, DbError> {
        self.database
            .begin("ExportData", Context::User(caller), deadline)
            .await
    }
}
