//! RefreshSession: uses a refresh token, and stores its successor.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError, TenantTx},
    deadline::Deadline,
    mac::{KeyId, StoredMac},
};

use super::{Sessions, consents};
use crate::{
    domain::{
        audit::{AuditEventType, NewAuditEvent, Origin},
        consent::{Consent, RequiredConsents},
        rate_limit::Quota,
        refresh_token::{NewRefreshToken, StoredToken, TokenKey, TokenState},
        session::{EndReason, Session},
    },
    store::{
        audit_log,
        rate_limit::{self, LimitError},
    },
};

/// A session with new tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshedSession {
    /// The session.
    pub session: Session,
    /// The required consents that are not in effect now.
    pub missing_consents: Vec<Consent>,
}

/// The outcome of a refresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refreshed {
    /// This call used the token, and stored its successor.
    Session(RefreshedSession),
    /// Another call used the token within the last few seconds, and stored its successor.
    Again(RefreshedSession),
    /// The session had ended before.
    Ended,
    /// The token was used before, and this call ended its session.
    Reused,
    /// The token has expired.
    Expired,
    /// The token is no longer stored, and neither is its session.
    Unknown,
}

/// A locked session, and one of its tokens, also locked.
struct Locked {
    session: Session,
    ended: bool,
    token: StoredToken,
    missing_consents: Vec<Consent>,
    /// The time by the clock of Postgres. The clocks of two replicas may differ by more than the grace period.
    now: DateTime<Utc>,
}

// === impl Sessions ===

impl Sessions {
    /// Finds the token that has one of these keyed hashes: those of one token under each key of the ring. Also returns the
    /// id of the key that its hash is under. Admits the call first, if it is within all of `quotas`.
    ///
    /// # Errors
    ///
    /// When the call is over a limit, or when the database fails.
    pub async fn find_refresh_token(
        &self,
        hashes: impl Iterator<Item = StoredMac>,
        quotas: &[Quota],
        deadline: Deadline,
    ) -> Result<Option<(TokenKey, KeyId)>, LimitError> {
        let hashes: Vec<Vec<u8>> = hashes.map(|hash| hash.as_bytes().to_vec()).collect();
        let mut tx = self
            .database
            .begin("RefreshSession.find", Context::Anonymous, deadline)
            .await?;
        if !quotas.is_empty() {
            rate_limit::admit(&mut tx, quotas, None).await?;
        }
        let row = sqlx::query!(
            r#"
            SELECT /* RefreshSession.find */ found.user_id AS "user_id!", found.session_id AS "session_id!",
                found.id AS "id!", token.hash AS "hash!"
            FROM unnest($1::bytea[]) AS token (hash), identity.find_refresh_token(token.hash) AS found"#,
            &hashes as &[Vec<u8>],
        )
        .fetch_optional(&mut tx)
        .await
        .map_err(DbError::from)?;
        tx.commit().await?;
        Ok(row.map(|row| {
            let key = TokenKey {
                user_id: UserId::new(row.user_id),
                session_id: row.session_id,
                token_id: row.id,
            };
            (key, KeyId::of_stored(&row.hash))
        }))
    }

    /// Uses the token `key`, stores `next` as its successor, and extends the session. When several simultaneous calls
    /// have one token, one of them does that, and the others get the same session. A token that was used more than
    /// [`GRACE`](crate::domain::refresh_token::GRACE) before ends its session. All times are by the clock of Postgres, which
    /// is the same for the calls of all replicas.
    ///
    /// Only a call that uses a token counts towards `quotas`, which bound the number of stored tokens. The result names those
    /// of the `required` consents that are not in effect.
    ///
    /// # Errors
    ///
    /// When the call is over a limit, or when the database fails. The refresh may have been committed: a retry within the grace period returns the outcome.
    pub async fn refresh(
        &self,
        key: TokenKey,
        next: NewRefreshToken,
        (quotas, required): (&[Quota], &RequiredConsents),
        origin: &Origin,
        deadline: Deadline,
    ) -> Result<Refreshed, LimitError> {
        let mut tx = self
            .database
            .begin("RefreshSession", Context::User(key.user_id), deadline)
            .await?;
        let Some(locked) = lock(&mut tx, key, required).await? else {
            return Ok(Refreshed::Unknown);
        };
        if locked.ended {
            return Ok(Refreshed::Ended);
        }
        let now = locked.now;
        let refreshed = match locked.token.state(now) {
            TokenState::Expired => return Ok(Refreshed::Expired),
            TokenState::UsedRecently => {
                return Ok(Refreshed::Again(RefreshedSession {
                    session: locked.session,
                    missing_consents: locked.missing_consents,
                }));
            }
            TokenState::Unused { used_at } => {
                if !quotas.is_empty() {
                    rate_limit::admit(&mut tx, quotas, None).await?;
                }
                let session = locked.session.refreshed(now);
                rotate(&mut tx, key, session, next, used_at).await?;
                Refreshed::Session(RefreshedSession {
                    session,
                    missing_consents: locked.missing_consents,
                })
            }
            TokenState::Reused => {
                end_session(&mut tx, key, origin, now).await?;
                Refreshed::Reused
            }
        };
        tx.commit().await?;
        Ok(refreshed)
    }
}

/// Locks the account, the session and the token, and reads them after that, with those of the `required` consents that are
/// not in effect.
async fn lock(
    tx: &mut TenantTx,
    key: TokenKey,
    required: &RequiredConsents,
) -> Result<Option<Locked>, DbError> {
    let (documents, versions) = required.columns();
    // Locks the account first, as ChangePassword and DeleteAccount do.
    let row = sqlx::query!(
        r#"
        SELECT /* RefreshSession.lock */
               coalesce(session.refreshed_at, session.issued_at) AS "issued_at!", session.expires_at,
            session.refresh_expires_at, session.ended_at IS NOT NULL AS "ended!",
            token.issued_at AS token_issued_at, token.expires_at AS token_expires_at, token.used_at,
            clock_timestamp() AS "now!",
            ARRAY(
                SELECT required.document || '=' || required.version
                FROM unnest($4::text[], $5::text[]) WITH ORDINALITY AS required (document, version, position)
                WHERE NOT EXISTS (
                    SELECT FROM identity.consents AS consent
                    WHERE consent.user_id = $1 AND consent.document = required.document
                        AND consent.document_version = required.version AND consent.withdrawn_at IS NULL
                )
                ORDER BY required.position
            ) AS "missing_consents!: Vec<String>"
        FROM identity.users AS person
            JOIN identity.sessions AS session ON session.user_id = person.id
            JOIN identity.refresh_tokens AS token
                ON token.user_id = session.user_id AND token.session_id = session.id
        WHERE person.id = $1 AND session.id = $2 AND token.id = $3
        FOR NO KEY UPDATE OF person, session, token"#,
        key.user_id.as_uuid(),
        key.session_id,
        key.token_id,
        &documents as _,
        &versions as _,
    )
    .fetch_optional(tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Locked {
        missing_consents: consents(&row.missing_consents)?,
        session: Session {
            id: key.session_id,
            user_id: key.user_id,
            issued_at: row.issued_at,
            expires_at: row.expires_at,
            refresh_expires_at: row.refresh_expires_at,
        },
        ended: row.ended,
        token: StoredToken {
            issued_at: row.token_issued_at,
            expires_at: row.token_expires_at,
            used_at: row.used_at,
        },
        now: row.now,
    }))
}

/// Marks the token as used, stores its successor, and extends the session, all in one statement.
async fn rotate(
    tx: &mut TenantTx,
    key: TokenKey,
    session: Session,
    next: NewRefreshToken,
    used_at: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        WITH /* RefreshSession */ used AS (
            UPDATE identity.refresh_tokens SET used_at = $4 WHERE user_id = $1 AND id = $3
        ), next AS (
            INSERT INTO identity.refresh_tokens (user_id, id, session_id, token_hash, issued_at, expires_at)
            VALUES ($1, $5, $2, $6, $7, $9)
        ), active AS (
            UPDATE identity.users SET last_active_at = $4 WHERE id = $1
        )
        UPDATE identity.sessions SET refreshed_at = $7, expires_at = $8, refresh_expires_at = $9
        WHERE user_id = $1 AND id = $2"#,
        key.user_id.as_uuid(),
        key.session_id,
        key.token_id,
        used_at,
        next.id,
        next.hash.as_bytes(),
        session.issued_at,
        session.expires_at,
        session.refresh_expires_at,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Ends the session of a reused token, and appends that to the audit log.
async fn end_session(
    tx: &mut TenantTx,
    key: TokenKey,
    origin: &Origin,
    at: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        "SELECT /* RefreshSession.end */ session_id FROM identity.end_sessions($1, NULL, $2, $3)",
        key.session_id,
        EndReason::TokenReused.name(),
        at,
    )
    .fetch_all(&mut *tx)
    .await?;
    let event = NewAuditEvent {
        event: AuditEventType::TokenReuse,
        refused: true,
        origin,
        session_id: Some(key.session_id),
        at,
    };
    audit_log::append(tx, &event).await
}
