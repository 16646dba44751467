//! Refreshing a session: a token is used, and its successor takes its place.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError, TenantTx},
    deadline::Deadline,
};
use uuid::Uuid;

use crate::domain::{
    audit::{AuditEventType, NewAuditEvent, Origin},
    refresh_token::{KeptToken, Worth},
    session::{EndReason, Session},
};
use crate::store::audit_log as audit;
use crate::store::session::Sessions;
use crate::store::session::sign_in::NewRefreshToken;

/// Where a refresh token is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenLocation {
    /// Whose it is.
    pub user_id: UserId,
    /// In which session.
    pub session_id: Uuid,
    /// The id that it is kept under.
    pub token_id: Uuid,
}

/// What became of a refresh token that somebody presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refreshed {
    /// Its successor is there, now or since a moment ago.
    Session(Session),
    /// Its session ended before.
    Ended,
    /// It was used before, so its session ends now.
    Copied,
    /// It has expired.
    Expired,
    /// It is gone, and its session with it.
    Unknown,
}

/// A session and one of its tokens, both locked.
struct Locked {
    session: Session,
    ended: bool,
    token: KeptToken,
}

// === impl Sessions ===

impl Sessions {
    /// Where the token with this keyed hash is kept.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn find_refresh_token(
        &self,
        hash: &[u8; 32],
        deadline: Deadline,
    ) -> Result<Option<TokenLocation>, DbError> {
        let mut tx = self
            .database
            .begin("RefreshSession.find", Context::Anonymous, deadline)
            .await?;
        let found = sqlx::query!(
            r#"/* RefreshSession.find */
            SELECT user_id AS "user_id!", session_id AS "session_id!", id AS "id!"
            FROM identity.find_refresh_token($1)"#,
            hash,
        )
        .fetch_optional(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(found.map(|row| TokenLocation {
            user_id: UserId::new(row.user_id),
            session_id: row.session_id,
            token_id: row.id,
        }))
    }

    /// Uses the token at `place`, and stores `next` as its successor, for another while. Of several who bring it at once
    /// one does; the others get the same. A token that comes back later than that ends its session.
    ///
    /// # Errors
    ///
    /// When the database fails. A retry within the grace gets what there is then.
    pub async fn refresh(
        &self,
        place: TokenLocation,
        next: NewRefreshToken,
        origin: &Origin,
        now: DateTime<Utc>,
        deadline: Deadline,
    ) -> Result<Refreshed, DbError> {
        let mut tx = self
            .database
            .begin("RefreshSession", Context::User(place.user_id), deadline)
            .await?;
        let Some(locked) = lock(&mut tx, place).await? else {
            return Ok(Refreshed::Unknown);
        };
        if locked.ended {
            return Ok(Refreshed::Ended);
        }
        let refreshed = match locked.token.worth(now) {
            Worth::Expired => return Ok(Refreshed::Expired),
            Worth::Again => return Ok(Refreshed::Session(locked.session)),
            Worth::Use { used_at } => {
                let session = locked.session.refreshed(now);
                rotate(&mut tx, place, session, next, used_at).await?;
                Refreshed::Session(session)
            }
            Worth::Copied => {
                end_family(&mut tx, place, origin, now).await?;
                Refreshed::Copied
            }
        };
        tx.commit().await?;
        Ok(refreshed)
    }
}

/// Locks all that a refresh depends on, and reads it as it is once it is locked.
async fn lock(tx: &mut TenantTx, place: TokenLocation) -> Result<Option<Locked>, DbError> {
    // The account is locked first, as whoever changes its password or deletes it does.
    let row = sqlx::query!(
        r#"/* RefreshSession.lock */
        SELECT coalesce(session.refreshed_at, session.issued_at) AS "issued_at!", session.expires_at,
            session.refresh_expires_at, session.ended_at IS NOT NULL AS "ended!",
            token.issued_at AS token_issued_at, token.expires_at AS token_expires_at, token.used_at
        FROM identity.users AS person
            JOIN identity.sessions AS session ON session.user_id = person.id
            JOIN identity.refresh_tokens AS token
                ON token.user_id = session.user_id AND token.session_id = session.id
        WHERE person.id = $1 AND session.id = $2 AND token.id = $3
        FOR NO KEY UPDATE OF person, session, token"#,
        place.user_id.as_uuid(),
        place.session_id,
        place.token_id,
    )
    .fetch_optional(tx)
    .await?;
    Ok(row.map(|row| Locked {
        session: Session {
            id: place.session_id,
            user_id: place.user_id,
            issued_at: row.issued_at,
            expires_at: row.expires_at,
            refresh_expires_at: row.refresh_expires_at,
        },
        ended: row.ended,
        token: KeptToken {
            issued_at: row.token_issued_at,
            expires_at: row.token_expires_at,
            used_at: row.used_at,
        },
    }))
}

/// One statement for all that a refresh writes.
async fn rotate(
    tx: &mut TenantTx,
    place: TokenLocation,
    session: Session,
    next: NewRefreshToken,
    used_at: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"/* RefreshSession */
        WITH used AS (
            UPDATE identity.refresh_tokens SET used_at = $4 WHERE user_id = $1 AND id = $3
        ), next AS (
            INSERT INTO identity.refresh_tokens (user_id, id, session_id, token_hash, issued_at, expires_at)
            VALUES ($1, $5, $2, $6, $7, $9)
        ), active AS (
            UPDATE identity.users SET last_active_at = $4 WHERE id = $1
        )
        UPDATE identity.sessions SET refreshed_at = $7, expires_at = $8, refresh_expires_at = $9
        WHERE user_id = $1 AND id = $2"#,
        place.user_id.as_uuid(),
        place.session_id,
        place.token_id,
        used_at,
        next.id,
        &next.hash,
        session.issued_at,
        session.expires_at,
        session.refresh_expires_at,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Ends the session of a token that was copied, and says so in the audit log.
async fn end_family(
    tx: &mut TenantTx,
    place: TokenLocation,
    origin: &Origin,
    at: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        "/* RefreshSession.end */ SELECT session_id FROM identity.end_sessions($1, NULL, $2, $3)",
        place.session_id,
        EndReason::TokenReused.name(),
        at,
    )
    .fetch_all(&mut *tx)
    .await?;
    let event = NewAuditEvent {
        event: AuditEventType::TokenReuse,
        refused: true,
        origin,
        session_id: Some(place.session_id),
        at,
    };
    audit::append(tx, &event).await
}
