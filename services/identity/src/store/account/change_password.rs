//! The SQL of ChangePassword.

use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
    request_key::RequestKey,
};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use thiserror::Error;
use uuid::Uuid;

use super::reauthentication::{EarlierRequest, OwnPasswords};
use crate::{
    domain::{
        audit::{AuditEventType, NewAuditEvent},
        password::PasswordChange,
    },
    store::audit_log,
};

/// The name of the method in `identity.requests`.
const METHOD: &str = "ChangePassword";

/// The answer, which is stored for retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordChanged {
    /// The time of the change, in microseconds since 1970.
    pub changed_at_micros: i64,
    /// The number of other sessions that the change ended.
    pub ended_sessions: i32,
}

/// The error when a password was not changed.
#[derive(Debug, Error)]
pub enum ChangeError {
    /// After the password was checked, it was changed, the account was erased, or the request id was used. Reading the
    /// credential again tells which.
    #[error("the credential is outdated")]
    Outdated,
    /// The database failed, or cannot be reached.
    #[error(transparent)]
    Database(DbError),
}

// === impl OwnPasswords ===

impl OwnPasswords {
    /// Replaces the password of `person` that was checked, and ends their other sessions. Returns the answer, and the
    /// ids of the ended sessions.
    ///
    /// # Errors
    ///
    /// See [`ChangeError`]. Nothing was changed, except that after a database error the change may have been committed:
    /// a retry returns the outcome.
    pub async fn change(
        &self,
        person: UserId,
        change: &PasswordChange<'_>,
        deadline: Deadline,
    ) -> Result<(PasswordChanged, Vec<Uuid>), ChangeError> {
        let mut tx = self
            .database
            .begin(METHOD, Context::User(person), deadline)
            .await?;
        let changed = sqlx::query!(
            r#"
            UPDATE /* ChangePassword */ identity.users
            SET password_hash = $3, password_version = password_version + 1, version = version + 1, updated_at = $4
            WHERE id = $1 AND password_version = $2"#,
            person.as_uuid(),
            change.replaces,
            change.hash.expose(),
            change.at,
        )
        .execute(&mut tx)
        .await
        .map_err(DbError::from)?;
        if changed.rows_affected() == 0 {
            return Err(ChangeError::Outdated);
        }
        // A separate statement, which starts when the account is locked: it sees the sessions that began with the old
        // password while the update waited for the lock. A SignIn after that sees the new password's version.
        let ended = sqlx::query_scalar!(
            r#"
            SELECT /* ChangePassword.end */
                   session_id AS "session_id!" FROM identity.end_sessions(NULL, $1, 'password_changed', $2)"#,
            change.session_id,
            change.at,
        )
        .fetch_all(&mut tx)
        .await
        .map_err(DbError::from)?;
        let answer = PasswordChanged {
            changed_at_micros: change.at.timestamp_micros(),
            ended_sessions: i32::try_from(ended.len()).unwrap_or(i32::MAX),
        };
        sqlx::query!(
            r#"
            WITH /* ChangePassword.request */ request AS (
                INSERT INTO identity.requests (user_id, id, method, payload_mac, answer, created_at)
                VALUES ($1, $2, 'ChangePassword', $3, $4, $5)
            )
            SELECT count(*) AS "forgotten!" FROM unnest($6::bytea[]) AS account (key), identity.forget_failures(account.key)"#,
            person.as_uuid(),
            change.request.id,
            change.request.payload_macs.first().as_bytes(),
            Json(answer) as _,
            change.at,
            change.failures.as_slice() as &[Vec<u8>],
        )
        .fetch_one(&mut tx)
        .await
        .map_err(DbError::from)?;
        let event = NewAuditEvent {
            event: AuditEventType::PasswordChange,
            refused: false,
            origin: change.origin,
            session_id: change.session_id,
            at: change.at,
        };
        audit_log::append(&mut tx, &event).await?;
        tx.commit().await?;
        Ok((answer, ended))
    }
}

// === impl EarlierRequest ===

impl EarlierRequest {
    /// Returns the stored answer, when the earlier request has the same content as `request`, passwords aside.
    #[must_use]
    pub fn answer_to(&self, request: &RequestKey) -> Option<PasswordChanged> {
        if self.method != METHOD || !request.payload_macs.contains(&self.payload_mac) {
            return None;
        }
        PasswordChanged::deserialize(&self.answer).ok()
    }
}

// === impl ChangeError ===

impl From<DbError> for ChangeError {
    fn from(error: DbError) -> Self {
        match error.constraint() {
            Some("requests_pkey") => Self::Outdated,
            _ => Self::Database(error),
        }
    }
}
