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
        rate_limit::{FailureKeys, Quota},
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

/// The error when an earlier sign-up with the same request id cannot be returned.
#[derive(Debug, Error)]
pub enum EarlierSignUpError {
    /// The sign-up with this request id made an account that was erased.
    #[error("the account of the sign-up was erased")]
    Erased,
    /// The call is over a limit, or the database failed: no call is admitted then.
    #[error(transparent)]
    Limited(#[from] LimitError),
}

/// The error when an account was not created.
#[derive(Debug, Error)]
pub enum SignUpError {
    /// The request id created an account that was erased.
    #[error("the account of the sign-up was erased")]
    Erased,
    /// An account with this email address exists, or the request id created an account. Which of the two is not known:
    /// a retry violates both constraints.
    #[error("an account with this email address or from this request exists")]
    Exists,
    /// The email address is over its limit.
    #[error(transparent)]
    Limited(LimitError),
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

    /// Finds the sign-up that had the same request id, and admits the call as [`Accounts::admit`] does: a retry within the
    /// limits of `retries`, which also has the keys under which its wrong passwords are counted, and any other sign-up within
    /// `quotas`.
    ///
    /// # Errors
    ///
    /// See [`EarlierSignUpError`]. A call whose account was erased counts towards the limits.
    pub async fn admit_sign_up(
        &self,
        request: &RequestKey,
        quotas: &[Quota],
        retries: &(Vec<Quota>, FailureKeys),
        deadline: Deadline,
    ) -> Result<Option<EarlierSignUp>, EarlierSignUpError> {
        let mut tx = self
            .database
            .begin("SignUp.admit", Context::Anonymous, deadline)
            .await?;
        let earlier = find(&mut tx, request.id).await?;
        let found = earlier.as_ref().ok().and_then(Option::as_ref);
        match found.is_some_and(|earlier| earlier.is_of(request)) {
            true => rate_limit::admit(&mut tx, &retries.0, Some(&retries.1)).await?,
            false => rate_limit::admit(&mut tx, quotas, None).await?,
        }
        tx.commit().await?;
        earlier
    }

    /// Counts a wrong password in a retry under `failures`.
    ///
    /// # Errors
    ///
    /// When the database fails. The password is not counted then.
    pub async fn count_wrong_sign_up(
        &self,
        failures: &FailureKeys,
        at: DateTime<Utc>,
        deadline: Deadline,
    ) -> Result<(), DbError> {
        let mut tx = self
            .database
            .begin("SignUp.wrong", Context::Service, deadline)
            .await?;
        sqlx::query!(
            r#"
            SELECT /* SignUp.wrong */ count(*) AS "noted!"
            FROM identity.note_wrong_password($1, '{}', '0', '0', NULL, NULL, $2)"#,
            failures.as_slice() as &[Vec<u8>],
            at,
        )
        .fetch_one(&mut tx)
        .await?;
        tx.commit().await
    }

    /// Stores an account, its consents, the request, the message to data and the first audit event: all of it or
    /// nothing. The caller delivers the message until its lease ends. The account counts towards `quotas`, in the same
    /// transaction: a sign-up that fails for another reason uses nothing up.
    ///
    /// Uses one statement, and one for the quotas, so four round trips with begin and commit. No CTE returns a column, because the role of
    /// anonymous calls may not read any; the one of the account returns a constant, on which the audit event depends.
    ///
    /// # Errors
    ///
    /// See [`SignUpError`].
    pub async fn sign_up(
        &self,
        account: &NewAccount,
        quotas: &[Quota],
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
        if !quotas.is_empty() {
            rate_limit::admit(&mut tx, quotas, None)
                .await
                .map_err(SignUpError::Limited)?;
        }
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
    /// See [`EarlierSignUpError`].
    pub async fn find_sign_up(
        &self,
        request_id: Uuid,
        deadline: Deadline,
    ) -> Result<Option<EarlierSignUp>, EarlierSignUpError> {
        let mut tx = self
            .database
            .begin("SignUp.find", Context::Anonymous, deadline)
            .await?;
        let earlier = find(&mut tx, request_id).await?;
        tx.commit().await?;
        earlier
    }
}

/// The sign-up that was found, or why it is not returned.
type Found = Result<Option<EarlierSignUp>, EarlierSignUpError>;

async fn find(tx: &mut TenantTx, request_id: Uuid) -> Result<Found, DbError> {
    let row = sqlx::query!(
        r#"
        SELECT /* SignUp.find */
               identity.is_erased_sign_up($1) AS "is_erased!", user_id AS "user_id?", payload_mac AS "payload_mac?",
            answer AS "answer?: Json<Answer>", password_hash AS "password_hash?"
        FROM (VALUES (1)) AS always LEFT JOIN identity.find_sign_up($1) ON true"#,
        request_id,
    )
    .fetch_one(tx)
    .await?;
    if row.is_erased {
        return Ok(Err(EarlierSignUpError::Erased));
    }
    let found = (row.user_id, row.payload_mac, row.answer, row.password_hash);
    let (Some(user_id), Some(payload_mac), Some(answer), Some(password_hash)) = found else {
        return Ok(Ok(None));
    };
    let created_at = DateTime::from_timestamp_micros(answer.created_at_micros)
        .ok_or_else(|| DbError::unexpected("the stored answer of a sign-up has no valid time"))?;
    Ok(Ok(Some(EarlierSignUp {
        user_id: UserId::new(user_id),
        payload_mac,
        created_at,
        password_hash: PasswordHash::new(password_hash),
    })))
}

// === impl EarlierSignUpError ===

impl From<DbError> for EarlierSignUpError {
    fn from(error: DbError) -> Self {
        Self::Limited(error.into())
    }
}

// === impl EarlierSignUp ===

impl EarlierSignUp {
    /// Returns whether it has the content of `request`, apart from the password.
    #[must_use]
    pub fn is_of(&self, request: &RequestKey) -> bool {
        request.payload_macs.contains(&self.payload_mac)
    }
}

// === impl SignUpError ===

impl From<DbError> for SignUpError {
    fn from(error: DbError) -> Self {
        match error.constraint() {
            Some("users_email_canonical_key" | "requests_sign_up_key") => Self::Exists,
            Some("erasures_sign_up_digest") => Self::Erased,
            _ => Self::Database(error),
        }
    }
}
