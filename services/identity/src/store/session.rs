//! Sessions: beginning one.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, Database, DbError},
    deadline::Deadline,
};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use thiserror::Error;
use uuid::Uuid;

use super::request::RequestKey;
use crate::domain::session::Session;

/// The sessions of everybody, each reached only as the person whose it is.
#[derive(Clone, Debug)]
pub struct Sessions {
    database: Arc<Database>,
}

/// Why a session did not begin.
#[derive(Debug, Error)]
pub enum BeginError {
    /// The request id belongs to a request with other content.
    #[error("the request id belongs to another request")]
    RequestIdReused,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// What a retry is told again.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    session_id: Uuid,
    issued_at: i64,
    expires_at: i64,
}

// === impl Sessions ===

impl Sessions {
    /// The sessions in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Begins `session`, and notes that its person was active at `now`; or, when `request` did so before, changes nothing
    /// and returns the session that it began.
    ///
    /// # Errors
    ///
    /// When the request id was used for something else, or when the database fails.
    pub async fn begin(
        &self,
        session: Session,
        request: &RequestKey,
        now: DateTime<Utc>,
        deadline: Deadline,
    ) -> Result<Session, BeginError> {
        let mut tx = self
            .database
            .begin("SignIn", Context::User(session.user_id), deadline)
            .await?;
        let inserted = sqlx::query_scalar!(
            r#"/* SignIn */
            WITH request AS (
                INSERT INTO identity.requests (user_id, id, method, payload_mac, answer, created_at)
                VALUES ($1, $2, 'SignIn', $3, $4, $5)
                ON CONFLICT (user_id, id) DO NOTHING
                RETURNING user_id
            ), session AS (
                INSERT INTO identity.sessions (user_id, id, issued_at, expires_at)
                SELECT user_id, $6, $7, $8 FROM request
            ), active AS (
                UPDATE identity.users SET last_active_at = $5 FROM request WHERE id = request.user_id
            )
            SELECT count(*) AS "count!" FROM request"#,
            session.user_id.as_uuid(),
            request.id,
            &request.payload_mac,
            Json(Answer::from(session)) as _,
            now,
            session.id,
            session.issued_at,
            session.expires_at,
        )
        .fetch_one(&mut tx)
        .await
        .map_err(DbError::from)?;
        if inserted > 0 {
            tx.commit().await?;
            return Ok(session);
        }
        let earlier = sqlx::query!(
            r#"/* SignIn.retry */
            SELECT method, payload_mac, answer AS "answer: Json<serde_json::Value>" FROM identity.requests
            WHERE user_id = $1 AND id = $2"#,
            session.user_id.as_uuid(),
            request.id,
        )
        .fetch_one(&mut tx)
        .await
        .map_err(DbError::from)?;
        tx.commit().await?;
        if earlier.method != "SignIn" || earlier.payload_mac != request.payload_mac {
            return Err(BeginError::RequestIdReused);
        }
        let answer: Option<Answer> = serde_json::from_value(earlier.answer.0).ok();
        let session = answer.and_then(|answer| answer.session_of(session.user_id));
        Ok(session.ok_or_else(|| DbError::unexpected("an answer is no session"))?)
    }
}

// === impl Answer ===

impl From<Session> for Answer {
    fn from(session: Session) -> Self {
        Self {
            session_id: session.id,
            issued_at: session.issued_at.timestamp(),
            expires_at: session.expires_at.timestamp(),
        }
    }
}

impl Answer {
    fn session_of(self, user_id: UserId) -> Option<Session> {
        Some(Session {
            id: self.session_id,
            user_id,
            issued_at: DateTime::from_timestamp(self.issued_at, 0)?,
            expires_at: DateTime::from_timestamp(self.expires_at, 0)?,
        })
    }
}
