//! Changing a password, and with it the end of every other session.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use thiserror::Error;
use uuid::Uuid;

use crate::domain::{
    account::PasswordHash,
    audit::{AuditEventType, NewAuditEvent, Origin},
};
use crate::store::account::reauthentication::{EarlierRequest, OwnPasswords};
use crate::store::audit_log as audit;
use crate::store::request::RequestKey;

/// The name of the method in its requests.
const METHOD: &str = "ChangePassword";

/// A password to be set.
#[derive(Debug)]
pub struct NewPassword<'a> {
    /// Whose.
    pub user_id: UserId,
    /// Its hash.
    pub hash: &'a PasswordHash,
    /// The version of the one that was checked, which it replaces.
    pub replaces: i64,
    /// The request that sets it.
    pub request: &'a RequestKey,
    /// The session that its person is in, which does not end.
    pub session_id: Option<Uuid>,
    /// The key of the account's wrong passwords, which are forgotten.
    pub failures: &'a [u8; 32],
    /// Where the call came from.
    pub origin: &'a Origin,
    /// When.
    pub at: DateTime<Utc>,
}

/// What is answered, and to a retry again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordChanged {
    /// When, in microseconds since 1970.
    pub changed_at_micros: i64,
    /// How many other sessions it ended.
    pub ended_sessions: i32,
}

/// Why a password was not set.
#[derive(Debug, Error)]
pub enum ChangeError {
    /// Since it was checked the password was changed, the account erased, or the request id used: whoever looks again
    /// knows which.
    #[error("something was changed meanwhile")]
    Outdated,
    /// The database failed.
    #[error(transparent)]
    Database(DbError),
}

// === impl OwnPasswords ===

impl OwnPasswords {
    /// Sets a password in the place of the one that was checked, and ends every other session of its person. Answers which
    /// those are, beside what a retry is told again.
    ///
    /// # Errors
    ///
    /// See [`ChangeError`]. Nothing is changed then, unless it was the database that failed: a retry finds out.
    pub async fn change(
        &self,
        new: &NewPassword<'_>,
        deadline: Deadline,
    ) -> Result<(PasswordChanged, Vec<Uuid>), ChangeError> {
        let mut tx = self
            .database
            .begin(METHOD, Context::User(new.user_id), deadline)
            .await?;
        let changed = sqlx::query!(
            r#"/* ChangePassword */
            UPDATE identity.users
            SET password_hash = $3, password_version = password_version + 1, version = version + 1, updated_at = $4
            WHERE id = $1 AND password_version = $2"#,
            new.user_id.as_uuid(),
            new.replaces,
            new.hash.expose(),
            new.at,
        )
        .execute(&mut tx)
        .await
        .map_err(DbError::from)?;
        if changed.rows_affected() == 0 {
            return Err(ChangeError::Outdated);
        }
        // A statement of its own, which begins with the account locked: it sees the sessions that began by the password
        // until now while the update waited for them, and whoever begins one later sees the new password's version.
        let ended = sqlx::query_scalar!(
            r#"/* ChangePassword.end */
            SELECT session_id AS "session_id!" FROM identity.end_sessions(NULL, $1, 'password_changed', $2)"#,
            new.session_id,
            new.at,
        )
        .fetch_all(&mut tx)
        .await
        .map_err(DbError::from)?;
        let answer = PasswordChanged {
            changed_at_micros: new.at.timestamp_micros(),
            ended_sessions: i32::try_from(ended.len()).unwrap_or(i32::MAX),
        };
        sqlx::query!(
            r#"/* ChangePassword.request */
            WITH request AS (
                INSERT INTO identity.requests (user_id, id, method, payload_mac, answer, created_at)
                VALUES ($1, $2, 'ChangePassword', $3, $4, $5)
            )
            SELECT identity.forget_failures($6) AS "forgotten: ()""#,
            new.user_id.as_uuid(),
            new.request.id,
            &new.request.payload_mac,
            Json(answer) as _,
            new.at,
            new.failures.as_slice(),
        )
        .execute(&mut tx)
        .await
        .map_err(DbError::from)?;
        let event = NewAuditEvent {
            event: AuditEventType::PasswordChange,
            refused: false,
            origin: new.origin,
            session_id: new.session_id,
            at: new.at,
        };
        audit::append(&mut tx, &event).await?;
        tx.commit().await?;
        Ok((answer, ended))
    }
}

// === impl EarlierRequest ===

impl EarlierRequest {
    /// What it was answered, when it asked for the same as `request`, as far as that is kept.
    #[must_use]
    pub fn answer_to(&self, request: &RequestKey) -> Option<PasswordChanged> {
        if self.method != METHOD || self.payload_mac != request.payload_mac {
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
