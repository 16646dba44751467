//! The SQL of ExportAccount: reads all rows of a person by pages.
//!
//! Each page is read in a transaction of its own, which ends before the page is sent: a slow client holds no transaction
//! open. Pages are read by keyset, in the order of columns that never change, so that no row is exported twice.

use std::sync::Arc;

use haven_platform::{
    call::UserId,
    database::{Context, Database, DbError, TenantTx},
    deadline::Deadline,
};
use thiserror::Error;
use uuid::Uuid;

use super::{AccountError, consent::ConsentRow, find};
use crate::{
    domain::{
        audit::{AuditEvent, NewAuditEvent},
        consent::ConsentEntry,
        export::{
            ExportedAccount, ExportedDeviceToken, ExportedRecoveryToken, ExportedRefreshToken,
            ExportedSession,
        },
        rate_limit::Quota,
    },
    store::{
        audit_log::{self, AuditRow},
        rate_limit::{self, LimitError},
    },
};

/// The maximum number of rows on a page. The largest row is an audit event with the longest name of a service, so a page is
/// smaller than 200 KiB.
const MAX_ROWS: i64 = 500;

/// The rows of all people. Row Level Security limits each call to the rows of its caller.
#[derive(Clone, Debug)]
pub struct Exports {
    database: Arc<Database>,
}

/// The error when an export does not start.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The person has no account.
    #[error(transparent)]
    Account(AccountError),
    /// The person is over a rate limit, or the database failed.
    #[error(transparent)]
    Limited(LimitError),
}

impl Exports {
    /// Returns the exports of the rows in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Admits an export by `caller` that is within `quotas`, and appends `event` to the caller's audit log.
    ///
    /// # Errors
    ///
    /// See [`ExportError`]. Nothing was appended then.
    pub async fn start(
        &self,
        caller: UserId,
        quotas: &[Quota],
        event: &NewAuditEvent<'_>,
        deadline: Deadline,
    ) -> Result<(), ExportError> {
        let failed = |error: DbError| ExportError::Account(error.into());
        let mut tx = self.begin(caller, deadline).await.map_err(failed)?;
        rate_limit::admit(&mut tx, quotas, None)
            .await
            .map_err(ExportError::Limited)?;
        // An erasure waits for this transaction, or this statement for the erasure.
        let account = sqlx::query_scalar!(
            r#"SELECT /* ExportAccount.lock */ 1 AS "one!" FROM identity.users WHERE id = $1 FOR KEY SHARE"#,
            caller.as_uuid(),
        )
        .fetch_optional(&mut tx)
        .await
        .map_err(|error| failed(error.into()))?;
        if account.is_none() {
            find(&mut tx, caller).await.map_err(ExportError::Account)?;
            return Err(ExportError::Account(AccountError::NotFound));
        }
        audit_log::append(&mut tx, event).await.map_err(failed)?;
        tx.commit().await.map_err(failed)
    }

    /// Returns the caller's account.
    ///
    /// # Errors
    ///
    /// When the person has no account, or when the database fails.
    pub async fn account(&self, caller: UserId, deadline: Deadline) -> Result<ExportedAccount, AccountError> {
        let mut tx = self.begin(caller, deadline).await?;
        let account = find(&mut tx, caller).await?;
        // A password has the first version from the creation of the account on, until it is changed.
        let password_set_at = sqlx::query_scalar!(
            "
            SELECT /* ExportAccount.password */
                   CASE WHEN email IS NULL THEN NULL WHEN password_version = 1 THEN created_at
                ELSE password_changed_at END
            FROM identity.users WHERE id = $1",
            caller.as_uuid(),
        )
        .fetch_optional(&mut tx)
        .await
        .map_err(DbError::from)?;
        tx.commit().await?;
        Ok(ExportedAccount {
            account,
            password_set_at: password_set_at.flatten(),
        })
    }

    /// Checks that the caller still has an account, without which rows may be missing from the export.
    ///
    /// # Errors
    ///
    /// When the person has no account, or when the database fails.
    pub async fn finish(&self, caller: UserId, deadline: Deadline) -> Result<(), AccountError> {
        let mut tx = self.begin(caller, deadline).await?;
        find(&mut tx, caller).await?;
        Ok(tx.commit().await?)
    }

    /// Returns a page of the caller's consents after the entry `after`, by id, which is the order of time.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn consents(
        &self,
        caller: UserId,
        after: Uuid,
        deadline: Deadline,
    ) -> Result<Vec<ConsentEntry>, DbError> {
        let mut tx = self.begin(caller, deadline).await?;
        let rows = sqlx::query_as!(
            ConsentRow,
            "
            SELECT /* ExportAccount, consents */ id, document, document_version, granted_at, withdrawn_at
            FROM identity.consents WHERE user_id = $1 AND id > $2 ORDER BY id LIMIT $3",
            caller.as_uuid(),
            after,
            MAX_ROWS,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        rows.into_iter().map(ConsentEntry::try_from).collect()
    }

    /// Returns a page of the caller's sessions after the session `after`, by id.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn sessions(
        &self,
        caller: UserId,
        after: Uuid,
        deadline: Deadline,
    ) -> Result<Vec<ExportedSession>, DbError> {
        let mut tx = self.begin(caller, deadline).await?;
        let rows = sqlx::query!(
            "
            SELECT /* ExportAccount, sessions */
                   id, issued_at, refreshed_at, expires_at, refresh_expires_at, ended_at, end_reason
            FROM identity.sessions WHERE user_id = $1 AND id > $2 ORDER BY id LIMIT $3",
            caller.as_uuid(),
            after,
            MAX_ROWS,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        let sessions = rows.into_iter().map(|row| ExportedSession {
            id: row.id,
            began_at: row.issued_at,
            refreshed_at: row.refreshed_at,
            access_expires_at: row.expires_at,
            expires_at: row.refresh_expires_at,
            end: row.ended_at.zip(row.end_reason),
        });
        Ok(sessions.collect())
    }

    /// Returns a page of the caller's refresh tokens after the token `after`, by id, without their hashes.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn refresh_tokens(
        &self,
        caller: UserId,
        after: Uuid,
        deadline: Deadline,
    ) -> Result<Vec<ExportedRefreshToken>, DbError> {
        let mut tx = self.begin(caller, deadline).await?;
        let rows = sqlx::query_as!(
            ExportedRefreshToken,
            "
            SELECT /* ExportAccount, refresh tokens */ id, session_id, issued_at, expires_at, used_at
            FROM identity.refresh_tokens WHERE user_id = $1 AND id > $2 ORDER BY id LIMIT $3",
            caller.as_uuid(),
            after,
            MAX_ROWS,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(rows)
    }

    /// Returns a page of the caller's device tokens after the token `after`, by id, without their hashes.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn device_tokens(
        &self,
        caller: UserId,
        after: Uuid,
        deadline: Deadline,
    ) -> Result<Vec<ExportedDeviceToken>, DbError> {
        let mut tx = self.begin(caller, deadline).await?;
        let rows = sqlx::query_as!(
            ExportedDeviceToken,
            "
            SELECT /* ExportAccount, device tokens */ id, issued_at, expires_at
            FROM identity.device_tokens WHERE user_id = $1 AND id > $2 ORDER BY id LIMIT $3",
            caller.as_uuid(),
            after,
            MAX_ROWS,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(rows)
    }

    /// Returns a page of the caller's recovery tokens after the token `after`, by id, without their hashes.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn recovery_tokens(
        &self,
        caller: UserId,
        after: Uuid,
        deadline: Deadline,
    ) -> Result<Vec<ExportedRecoveryToken>, DbError> {
        let mut tx = self.begin(caller, deadline).await?;
        let rows = sqlx::query_as!(
            ExportedRecoveryToken,
            "
            SELECT /* ExportAccount, recovery tokens */
                   id, kind, email, change_id, issued_at, expires_at, opened_at, spent_at
            FROM identity.recovery_tokens WHERE user_id = $1 AND id > $2 ORDER BY id LIMIT $3",
            caller.as_uuid(),
            after,
            MAX_ROWS,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(rows)
    }

    /// Returns a page of the caller's audit events after the number `after`, by number.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn audit_events(
        &self,
        caller: UserId,
        after: i64,
        deadline: Deadline,
    ) -> Result<Vec<AuditEvent>, DbError> {
        let mut tx = self.begin(caller, deadline).await?;
        let rows = sqlx::query_as!(
            AuditRow,
            "
            SELECT /* ExportAccount, audit events */ number, event, refused, service, session_id, occurred_at
            FROM identity.security_audit_log WHERE user_id = $1 AND number > $2 ORDER BY number LIMIT $3",
            caller.as_uuid(),
            after,
            MAX_ROWS,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        rows.into_iter().map(AuditEvent::try_from).collect()
    }

    async fn begin(&self, caller: UserId, deadline: Deadline) -> Result<TenantTx, DbError> {
        self.database
            .begin("ExportAccount", Context::User(caller), deadline)
            .await
    }
}
