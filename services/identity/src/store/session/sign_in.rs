//! The SQL of SignIn.

use std::time::Duration;

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError, TenantTx},
    deadline::Deadline,
    mac::{KeyId, StoredMac},
    request_key::RequestKey,
};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use thiserror::Error;
use uuid::Uuid;

use super::{Sessions, consents};
use crate::{
    domain::{
        account::PasswordHash,
        audit::{AuditEventType, NewAuditEvent, Origin},
        consent::Consent,
        rate_limit::{FailureKeys, Quota},
        session::{NewSession, Session},
    },
    store::{
        audit_log,
        rate_limit::{self, Cap, LimitError},
    },
};

/// The timeout of counting a wrong password, which continues when the caller disconnects.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The credential of an account.
#[derive(Debug)]
pub struct Credential {
    /// The id of the account's person.
    pub user_id: UserId,
    /// The password's hash. `None` when another provider signs this person in.
    pub password_hash: Option<PasswordHash>,
    /// The password's version, which grows with each change.
    pub password_version: i64,
}

/// What a call signs in with.
#[derive(Debug)]
pub struct Attempt<'a> {
    /// The canonical email address.
    pub email_canonical: &'a str,
    /// The hashes of the device token that was sent, under each key of the ring. Empty without a token.
    pub devices: &'a [Vec<u8>],
    /// The request's key, by which a retry is recognized.
    pub request: &'a RequestKey,
    /// The time of the call.
    pub at: DateTime<Utc>,
}

/// What is known about an attempt before its password is checked. It decides which limits apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// `true` when the device token is one of the account.
    pub device: bool,
    /// `true` when the same request began a session before. A retry has to know the password nevertheless.
    pub request: bool,
}

/// The result of [`Sessions::find_credential`].
#[derive(Debug)]
pub struct Found {
    /// The credential. `None` when the address has no account.
    pub credential: Option<Credential>,
    /// The stored hash of the device token that was sent. `None` when it is not one of the account.
    pub device_hash: Option<Vec<u8>>,
    /// The keys under which the caller's wrong passwords are counted.
    pub failures: FailureKeys,
}

/// A session that began.
#[derive(Debug)]
pub struct BegunSession {
    /// The session.
    pub session: Session,
    /// The id of the key that its first refresh token, and its device token, are derived from: the key that came first in
    /// the ring when the session began.
    pub key: KeyId,
    /// `true` when the device token is the one of the request, rather than a new one.
    pub keeps_device: bool,
    /// The ids of the sessions that ended to make room for this one.
    pub ended: Vec<Uuid>,
    /// The required consents that were not in effect when the session began.
    pub missing_consents: Vec<Consent>,
}

/// The error when a session did not begin.
#[derive(Debug, Error)]
pub enum BeginError {
    /// The password was changed, or the account was deleted, after the password was checked.
    #[error("the password was changed in the meantime")]
    PasswordChanged,
    /// The password is right, and the account's address is not verified.
    #[error("the address is not verified")]
    EmailNotVerified,
    /// The request id belongs to a request with other content.
    #[error("the request id belongs to another request")]
    RequestIdReused,
    /// The database failed, or cannot be reached.
    #[error(transparent)]
    Database(DbError),
}

/// The stored answer, for retries. The tokens are derived from it.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    session_id: Uuid,
    issued_at: i64,
    expires_at: i64,
    refresh_expires_at: i64,
    #[serde(default)]
    keeps_device: bool,
    /// As `document=version`. The statement fills it in.
    #[serde(default, skip_serializing)]
    missing_consents: Vec<String>,
}

// === impl Sessions ===

impl Sessions {
    /// Finds the account by its email address, its device token, and the earlier request with the same key. Then admits the
    /// sign-in if it is within its limits and need not wait after wrong passwords. `limits` has both, by what was found.
    ///
    /// # Errors
    ///
    /// [`LimitError`]. A call that exceeds one limit does not count towards the others.
    pub async fn find_credential(
        &self,
        attempt: &Attempt<'_>,
        limits: impl FnOnce(Known) -> (Vec<Quota>, FailureKeys) + Send,
        deadline: Deadline,
    ) -> Result<Found, LimitError> {
        let mut tx = self
            .database
            .begin("SignIn.find", Context::Anonymous, deadline)
            .await?;
        let row = sqlx::query!(
            r#"
            SELECT /* SignIn.find */ user_id, password_hash, password_version, device_hash,
                identity.knows_sign_in(user_id, $4, $5) AS "is_retry!"
            FROM identity.find_sign_in($1, $2, $3)"#,
            attempt.email_canonical,
            attempt.devices as &[Vec<u8>],
            attempt.at,
            attempt.request.id,
            &attempt.request.payload_macs.to_vecs() as &[Vec<u8>],
        )
        .fetch_one(&mut tx)
        .await
        .map_err(DbError::from)?;
        let (quotas, failures) = limits(Known {
            device: row.device_hash.is_some(),
            request: row.is_retry,
        });
        rate_limit::admit(&mut tx, &quotas, Some(&failures)).await?;
        tx.commit().await?;
        let (hash, account) = (row.password_hash, row.user_id.zip(row.password_version));
        Ok(Found {
            credential: account.map(|(user_id, password_version)| Credential {
                user_id: UserId::new(user_id),
                password_hash: hash.map(PasswordHash::new),
                password_version,
            }),
            device_hash: row.device_hash,
            failures,
        })
    }

    /// Begins a session, resets the count of the account's wrong passwords, and updates the time of the person's last
    /// activity. Stores or renews the device token, and ends the oldest sessions beyond the maximum. When the same request
    /// did so before, changes nothing and returns that session, even if it has ended.
    ///
    /// # Errors
    ///
    /// See [`BeginError`]. Nothing was changed, except that after a database error the session may have begun: a retry
    /// returns the outcome.
    pub async fn begin(&self, new: NewSession<'_>, deadline: Deadline) -> Result<BegunSession, BeginError> {
        let mut tx = self
            .database
            .begin("SignIn", Context::User(new.session.user_id), deadline)
            .await?;
        let begun = insert(&mut tx, &new).await?;
        if !begun.by_this_request {
            let earlier = earlier(&mut tx, &new).await?;
            tx.commit().await?;
            return Ok(earlier);
        }
        if begun.is_unverified {
            drop(tx);
            self.note_unverified(&new, deadline).await?;
            return Err(BeginError::EmailNotVerified);
        }
        if !begun.with_this_password {
            return Err(BeginError::PasswordChanged);
        }
        if let Some(hash) = &new.upgraded {
            // A separate statement, because it is rare and because the role may not read the column that it replaces.
            // The row is locked by the statement before, so the password is still the one that was checked.
            sqlx::query!(
                "UPDATE /* SignIn.upgrade */ identity.users SET password_hash = $2 WHERE id = $1",
                new.session.user_id.as_uuid(),
                hash.expose(),
            )
            .execute(&mut tx)
            .await
            .map_err(DbError::from)?;
        }
        tx.commit().await?;
        Ok(BegunSession {
            session: new.session,
            key: KeyId::of_stored(new.request.payload_macs.first().as_bytes()),
            keeps_device: new.device.found.is_some(),
            ended: begun.ended,
            missing_consents: consents(&begun.missing_consents).map_err(BeginError::Database)?,
        })
    }

    /// Appends a sign-in that was refused although its password is right to the audit log.
    async fn note_unverified(&self, new: &NewSession<'_>, deadline: Deadline) -> Result<(), BeginError> {
        let context = Context::User(new.session.user_id);
        let mut tx = self
            .database
            .begin("SignIn.unverified", context, deadline)
            .await?;
        let event = NewAuditEvent {
            event: AuditEventType::SignIn,
            refused: true,
            origin: new.origin,
            session_id: None,
            at: new.at,
        };
        audit_log::append(&mut tx, &event).await?;
        Ok(tx.commit().await?)
    }

    /// Counts a wrong password under `failures`, and appends it to the audit log of `user_id` if the account exists. It
    /// is one statement in both cases, so that the response time hardly differs.
    ///
    /// # Errors
    ///
    /// When the database fails. The password is not counted then.
    pub async fn count_failure(
        &self,
        user_id: Option<UserId>,
        failures: &FailureKeys,
        origin: Origin,
        at: DateTime<Utc>,
    ) -> Result<(), DbError> {
        let context = user_id.map_or(Context::Service, Context::ServiceFor);
        let mut tx = self
            .database
            .begin("SignIn.failed", context, Deadline::after(TIMEOUT))
            .await?;
        let cap = Cap::of(Some(failures));
        sqlx::query!(
            r#"
            SELECT /* SignIn.failed */ count(*) AS "noted!" FROM identity.note_wrong_password($1, $2, $3, $4, $5, $6, $7)"#,
            failures.as_slice() as &[Vec<u8>],
            cap.keys as &[Vec<u8>],
            cap.emission,
            cap.tolerance,
            origin.service.as_deref(),
            origin.network_mac.as_ref().map(StoredMac::as_bytes),
            at,
        )
        .fetch_one(&mut tx)
        .await?;
        tx.commit().await
    }
}

/// The outcome of the statement that begins a session.
struct Begun {
    /// `true` when the request is new.
    by_this_request: bool,
    /// `true` when the checked password is still the current one.
    with_this_password: bool,
    /// `true` when the checked password is still the current one, and the address must be verified and is not.
    is_unverified: bool,
    /// The ids of the sessions that ended to make room.
    ended: Vec<Uuid>,
    /// The required consents that are not in effect.
    missing_consents: Vec<String>,
}

/// Begins a session in one statement, which also appends the audit event and resets the count of wrong passwords: each
/// would be another round trip.
async fn insert(tx: &mut TenantTx, new: &NewSession<'_>) -> Result<Begun, BeginError> {
    let NewSession { session, origin, .. } = new;
    let (documents, versions) = new.required_consents.columns();
    let row = sqlx::query!(
        r#"
        WITH /* SignIn */ missing AS MATERIALIZED (
            SELECT ARRAY(
                SELECT required.document || '=' || required.version
                FROM unnest($23::text[], $24::text[]) WITH ORDINALITY AS required (document, version, position)
                WHERE NOT EXISTS (
                    SELECT FROM identity.consents AS consent
                    WHERE consent.user_id = $1 AND consent.document = required.document
                        AND consent.document_version = required.version AND consent.withdrawn_at IS NULL
                )
                ORDER BY required.position
            ) AS consents
        ), request AS (
            INSERT INTO identity.requests (user_id, id, method, payload_mac, answer, created_at)
            SELECT $1, $2, 'SignIn', $3, $4::jsonb || jsonb_build_object('missing_consents', missing.consents), $5
            FROM missing
            ON CONFLICT (user_id, id) DO NOTHING
            RETURNING user_id
        ), active AS (
            UPDATE identity.users SET last_active_at = $5 FROM request
            WHERE users.id = request.user_id AND password_version = $6 AND (NOT $25 OR email_verified_at IS NOT NULL)
            RETURNING users.id
        ), session AS (
            INSERT INTO identity.sessions (user_id, id, issued_at, expires_at, refresh_expires_at)
            SELECT id, $7, $8, $9, $10 FROM active
        ), token AS (
            INSERT INTO identity.refresh_tokens (user_id, id, session_id, token_hash, issued_at, expires_at)
            SELECT id, $11, $7, $12, $8, $10 FROM active
        ), noted AS MATERIALIZED (
            SELECT
                (SELECT count(*) FROM unnest($13::bytea[]) AS account (key), identity.forget_failures(account.key)),
                identity.append_audit_event($14, false, $15, $7, $16, $5),
                identity.keep_device_token($17, $18, $19, $5, $20, $21)
            FROM active
        ), ended AS MATERIALIZED (
            SELECT oldest.session_id FROM active, identity.end_oldest_sessions($7, $22, $5) AS oldest
        )
        SELECT EXISTS (SELECT FROM request) AS "by_this_request!", (SELECT count(*) FROM noted) AS "noted!",
            ARRAY(SELECT session_id FROM ended) AS "ended!: Vec<Uuid>",
            (SELECT consents FROM missing) AS "missing_consents!: Vec<String>",
            EXISTS (
                SELECT FROM identity.users WHERE id = $1 AND password_version = $6 AND $25 AND email_verified_at IS NULL
            ) AS "is_unverified!""#,
        session.user_id.as_uuid(),
        new.request.id,
        new.request.payload_macs.first().as_bytes(),
        Json(Answer::of(*session, new.device.found.is_some())) as _,
        new.at,
        new.password_version,
        session.id,
        session.issued_at,
        session.expires_at,
        session.refresh_expires_at,
        new.token.id,
        new.token.hash.as_bytes(),
        new.failures.as_slice() as &[Vec<u8>],
        AuditEventType::SignIn.name(),
        origin.service.as_deref(),
        origin.network_mac.as_ref().map(StoredMac::as_bytes),
        new.device.id,
        new.device.found.as_deref(),
        new.device.hash.as_bytes(),
        new.device.expires_at,
        new.device.maximum,
        new.max_sessions,
        &documents as _,
        &versions as _,
        new.requires_verified,
    )
    .fetch_one(tx)
    .await
    .map_err(DbError::from)?;
    Ok(Begun {
        ended: row.ended,
        missing_consents: row.missing_consents,
        by_this_request: row.by_this_request,
        with_this_password: row.noted > 0,
        is_unverified: row.is_unverified,
    })
}

/// Returns the answer to the earlier request with the same id, and the key of its stored hash.
async fn earlier(tx: &mut TenantTx, new: &NewSession<'_>) -> Result<BegunSession, BeginError> {
    let earlier = sqlx::query!(
        r#"
        SELECT /* SignIn.retry */
               method, payload_mac, answer AS "answer: Json<serde_json::Value>" FROM identity.requests
        WHERE user_id = $1 AND id = $2"#,
        new.session.user_id.as_uuid(),
        new.request.id,
    )
    .fetch_optional(tx)
    .await
    .map_err(DbError::from)?
    .ok_or(BeginError::PasswordChanged)?;
    if earlier.method != "SignIn" || !new.request.payload_macs.contains(&earlier.payload_mac) {
        return Err(BeginError::RequestIdReused);
    }
    let answer: Option<Answer> = serde_json::from_value(earlier.answer.0).ok();
    let keeps_device = answer.as_ref().is_some_and(|answer| answer.keeps_device);
    let missing = answer
        .as_ref()
        .map_or(&[] as &[String], |answer| &answer.missing_consents);
    let missing_consents = consents(missing).map_err(BeginError::Database)?;
    let session = answer
        .and_then(|answer| answer.session_of(new.session.user_id))
        .ok_or_else(|| {
            BeginError::Database(DbError::unexpected(
                "the stored answer of a sign-in is not a session",
            ))
        })?;
    Ok(BegunSession {
        session,
        key: KeyId::of_stored(&earlier.payload_mac),
        keeps_device,
        ended: Vec::new(),
        missing_consents,
    })
}

// === impl Answer ===

impl Answer {
    fn of(session: Session, keeps_device: bool) -> Self {
        Self {
            keeps_device,
            missing_consents: Vec::new(),
            session_id: session.id,
            issued_at: session.issued_at.timestamp(),
            expires_at: session.expires_at.timestamp(),
            refresh_expires_at: session.refresh_expires_at.timestamp(),
        }
    }

    fn session_of(self, user_id: UserId) -> Option<Session> {
        Some(Session {
            id: self.session_id,
            user_id,
            issued_at: DateTime::from_timestamp(self.issued_at, 0)?,
            expires_at: DateTime::from_timestamp(self.expires_at, 0)?,
            refresh_expires_at: DateTime::from_timestamp(self.refresh_expires_at, 0)?,
        })
    }
}

// === impl BeginError ===

impl From<DbError> for BeginError {
    fn from(error: DbError) -> Self {
        match error.constraint() {
            Some(
                "requests_user_id_fkey" | "audit_chains_user_id_fkey" | "security_audit_log_user_id_fkey",
            ) => Self::PasswordChanged,
            _ => Self::Database(error),
        }
    }
}
