//! The SQL of SignUp.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError, TenantTx},
    deadline::Deadline,
    mac::StoredMac,
    request_key::RequestKey,
};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use thiserror::Error;
use uuid::Uuid;

use super::Accounts;
use crate::{
    domain::{
        account::{NewAccount, PasswordHash},
        audit::{AuditEventType, Origin},
        outbox::{LEASE, Message},
        rate_limit::Quota,
    },
    store::rate_limit::{self, LimitError},
};

/// An earlier sign-up, to recognize a retry.
#[derive(Debug)]
pub struct EarlierSignUp {
    /// The id of the person who signed up.
    pub user_id: UserId,
    /// The hash of the request, as in [`RequestKey`].
    pub payload_mac: Vec<u8>,
    /// The time at which the account was created.
    pub created_at: DateTime<Utc>,
    /// The current hash of the account's password.
    pub password_hash: PasswordHash,
}

/// The error when an account was not created.
#[derive(Debug, Error)]
pub enum SignUpError {
    /// An account with this email address exists, or the request id created an account. Which of the two is not known:
    /// a retry violates both constraints.
    #[error("an account with this email address or from this request exists")]
    Exists,
    /// The database failed, or cannot be reached.
    #[error(transparent)]
    Database(DbError),
}

/// The stored part of the answer, for a retry. The rest of the answer is in the request.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    created_at_micros: i64,
}

impl Accounts {
    /// Admits an anonymous call of `method` that is within all of `quotas`, and counts it. Without limits there is no round
    /// trip.
    ///
    /// # Errors
    ///
    /// When the call is over a limit, or when the database fails: no call is admitted then.
    pub async fn admit(
        &self,
        method: &'static str,
        quotas: &[Quota],
        deadline: Deadline,
    ) -> Result<(), LimitError> {
        if quotas.is_empty() {
            return Ok(());
        }
        let mut tx = self.database.begin(method, Context::Anonymous, deadline).await?;
        rate_limit::admit(&mut tx, quotas, None).await?;
        Ok(tx.commit().await?)
    }

    /// Admits a sign-up as [`Accounts::admit`] does, and finds the sign-up that had the same request id.
    ///
    /// # Errors
    ///
    /// When the call is over a limit, or when the database fails: no call is admitted then.
    pub async fn admit_sign_up(
        &self,
        request_id: Uuid,
        quotas: &[Quota],
        deadline: Deadline,
    ) -> Result<Option<EarlierSignUp>, LimitError> {
        let mut tx = self
            .database
            .begin("SignUp.admit", Context::Anonymous, deadline)
            .await?;
        rate_limit::admit(&mut tx, quotas, None).await?;
        let earlier = find(&mut tx, request_id).await?;
        tx.commit().await?;
        Ok(earlier)
    }

    /// Stores an account, its consents, the request, the message to data and the first audit event: all of it or
    /// nothing. The caller delivers the message until its lease ends.
    ///
    /// Uses one statement, so three round trips with begin and commit. No CTE returns a column, because the role of
    /// anonymous calls may not read any; the one of the account returns a constant, on which the audit event depends.
    ///
    /// # Errors
    ///
    /// When such an account exists, or when the database fails.
    pub async fn sign_up(
        &self,
        account: &NewAccount,
        request: &RequestKey,
        message: &Message,
        origin: &Origin,
        deadline: Deadline,
    ) -> Result<(), SignUpError> {
        let goals: Vec<&str> = account.goals.iter().map(|goal| goal.name()).collect();
        let consents = account.consents.iter();
        let consent_ids: Vec<Uuid> = consents.clone().map(|new| new.id).collect();
        let documents: Vec<&str> = consents.clone().map(|new| new.consent.document()).collect();
        let versions: Vec<&str> = consents.map(|new| new.consent.version()).collect();
        let answer = Answer {
            created_at_micros: account.created_at.timestamp_micros(),
        };
        let mut tx = self
            .database
            .begin("SignUp", Context::AnonymousFor(account.id), deadline)
            .await?;
        sqlx::query!(
            r#"
            WITH /* SignUp */ account AS (
                INSERT INTO identity.users (id, email, email_canonical, password_hash, goals, created_at, updated_at)
                VALUES ($1, $2, $3, $4, $5, $6, $6)
                RETURNING 1
            ), agreed AS (
                INSERT INTO identity.consents (user_id, id, document, document_version, granted_at)
                SELECT $1, id, document, document_version, $6
                FROM unnest($7::uuid[], $8::text[], $9::text[]) AS new (id, document, document_version)
            ), answered AS (
                INSERT INTO identity.requests (user_id, id, method, payload_mac, answer, created_at)
                VALUES ($1, $10, 'SignUp', $11, $12, $6)
            ), told AS (
                INSERT INTO identity.outbox (user_id, id, kind, attempts, next_attempt_at, created_at)
                VALUES ($1, $13, 'provision_user', $14, now() + make_interval(secs => $15), $6)
            )
            SELECT identity.append_audit_event($16, false, $17, NULL, $18, $6) AS "appended: ()" FROM account"#,
            account.id.as_uuid(),
            account.email.entered(),
            account.email.canonical(),
            account.password_hash.expose(),
            &goals as _,
            account.created_at,
            &consent_ids,
            &documents as _,
            &versions as _,
            request.id,
            request.payload_macs.first().as_bytes(),
            Json(answer) as _,
            message.id,
            message.attempts,
            LEASE.as_secs_f64(),
            AuditEventType::SignUp.name(),
            origin.service.as_deref(),
            origin.network_mac.as_ref().map(StoredMac::as_bytes),
        )
        .execute(&mut tx)
        .await
        .map_err(DbError::from)?;
        tx.commit().await?;
        Ok(())
    }

    /// Finds the sign-up with the request id.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn find_sign_up(
        &self,
        request_id: Uuid,
        deadline: Deadline,
    ) -> Result<Option<EarlierSignUp>, DbError> {
        let mut tx = self
            .database
            .begin("SignUp.find", Context::Anonymous, deadline)
            .await?;
        let earlier = find(&mut tx, request_id).await?;
        tx.commit().await?;
        Ok(earlier)
    }
}

async fn find(tx: &mut TenantTx, request_id: Uuid) -> Result<Option<EarlierSignUp>, DbError> {
    let row = sqlx::query!(
        r#"
        SELECT /* SignUp.find */
               user_id AS "user_id!", payload_mac AS "payload_mac!", answer AS "answer!: Json<Answer>",
               password_hash AS "password_hash!"
        FROM identity.find_sign_up($1)"#,
        request_id,
    )
    .fetch_optional(tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let created_at = DateTime::from_timestamp_micros(row.answer.created_at_micros)
        .ok_or_else(|| DbError::unexpected("the stored answer of a sign-up has no valid time"))?;
    Ok(Some(EarlierSignUp {
        user_id: UserId::new(row.user_id),
        payload_mac: row.payload_mac,
        created_at,
        password_hash: PasswordHash::new(row.password_hash),
    }))
}

// === impl SignUpError ===

impl From<DbError> for SignUpError {
    fn from(error: DbError) -> Self {
        match error.constraint() {
            Some("users_email_canonical_key" | "requests_sign_up_key") => Self::Exists,
            _ => Self::Database(error),
        }
    }
}
