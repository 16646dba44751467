//! ExportData: reads all rows of a person by pages: messages and analyses in [`written`], encrypted content in
//! [`encrypted`], shares and audit events in [`shared`].
//!
//! Each page is read in a transaction of its own, which ends before the page is sent: a slow client holds no
//! transaction open. Pages are read by keyset, in the order of columns that never change, so that no row is exported
//! twice.

pub mod encrypted;
pub mod shared;
pub mod written;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    cursor::Cursor,
    database::{Context, Database, DbError, TenantTx},
    deadline::Deadline,
};
use thiserror::Error;
use uuid::Uuid;

use crate::store::person_status::{Unknown, why_unknown};

/// The maximum number of rows on a page.
const MAX_ROWS: i64 = 500;

/// The most bytes of content on a page before its last row. Together with a last row of the largest size, a share, that
/// is a third of the largest response.
const MAX_BYTES: i64 = 1 << 20;

/// The number of mutations that an export counts as, for the person's rate limit. An export reads everything and stays in the audit
/// log for a long time.
const EXPORT_MUTATIONS: i32 = 10;

/// The rows of all people. Row Level Security limits each call to the rows of its caller.
#[derive(Clone, Debug)]
pub struct Exports {
    database: Arc<Database>,
}

/// The cursor before every row in order of time: no row is older than 1970.
pub const BEGINNING: Cursor = Cursor {
    at: DateTime::UNIX_EPOCH,
    id: Uuid::nil(),
};

/// The error of ExportData.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The person is not provisioned, or was erased.
    #[error(transparent)]
    Unknown(Unknown),
    /// The database failed, or did not answer before the deadline.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl Exports {
    /// Returns the exports of the rows in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Counts an export by `caller` at the time `at` as ten of the person's mutations, and writes its audit event.
    /// An export that `continues` counts as one mutation, and has its event already.
    ///
    /// # Errors
    ///
    /// See [`ExportError`].
    pub async fn start(
        &self,
        caller: UserId,
        at: DateTime<Utc>,
        continues: bool,
        deadline: Deadline,
    ) -> Result<(), ExportError> {
        let mut tx = self.begin(caller, deadline).await?;
        let written = try_start(&mut tx, caller, at, continues).await;
        match written {
            Err(error)
                if matches!(
                    error.constraint(),
                    Some("security_audit_log_user_id_fkey" | "usage_counters_user_id_fkey")
                ) =>
            {
                drop(tx);
                Err(self.unknown(caller, deadline).await)
            }
            Err(error) => Err(error.into()),
            Ok(()) => Ok(tx.commit().await?),
        }
    }

    /// Checks that no erasure of `caller` has begun, in which case rows may be missing from the export, and returns the
    /// time at which the person was provisioned.
    ///
    /// # Errors
    ///
    /// See [`ExportError`].
    pub async fn finish(&self, caller: UserId, deadline: Deadline) -> Result<DateTime<Utc>, ExportError> {
        let mut tx = self.begin(caller, deadline).await?;
        let since = sqlx::query_scalar!(
            "
            SELECT /* ExportData, finish */ created_at FROM data.users AS u
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

async fn try_start(
    tx: &mut TenantTx,
    caller: UserId,
    at: DateTime<Utc>,
    continues: bool,
) -> Result<(), DbError> {
    if !continues {
        sqlx::query!(
            "
            INSERT /* ExportData, start */
                   INTO data.security_audit_log (user_id, event, occurred_at) VALUES ($1, 'data_exported', $2)",
            caller.as_uuid(),
            at,
        )
        .execute(&mut *tx)
        .await?;
    }
    sqlx::query!(
        r#"SELECT /* ExportData, charge */ data.charge_mutations($1) AS "charged: ()""#,
        if continues { 1 } else { EXPORT_MUTATIONS },
    )
    .execute(tx)
    .await?;
    Ok(())
}
