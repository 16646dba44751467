//! The SQL of SignUp.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError, Effect},
    deadline::Deadline,
    mac::StoredMac,
    request_key::RequestKey,
};
use serde::{Deserialize, Serialize};
use sqlx::{postgres::types::PgInterval, types::Json};
use thiserror::Error;
use uuid::Uuid;

use super::Accounts;
use crate::{
    domain::{
        account::{NewAccount, PasswordHash},
        audit::Origin,
        outbox::{LEASE, Message},
        rate_limit::{FailureKeys, Quota},
    },
    store::rate_limit::{self, Arrays, LimitError},
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
    /// An account with this email address exists, or the request id created an account, which may be this very account. Which of
    /// them is not known: a retry violates all constraints.
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
        let (asked, repeated) = (Arrays::of(quotas), Arrays::of(&retries.0));
        let macs = request.payload_macs.to_vecs();
        let row = self
            .database
            .call("SignUp.admit", Context::Anonymous, Effect::Repeatable, deadline)
            .fetch_one(|| {
                sqlx::query!(
                    r#"
                    SELECT /* SignUp.admit */ refused, waits, is_erased AS "is_erased!", user_id, payload_mac,
                        answer AS "answer: Json<Answer>", password_hash
                    FROM identity.begin_sign_up_1($1, $2, $3, $4, $5, $6, $7, $8, $9)"#,
                    request.id,
                    &macs as &[Vec<u8>],
                    &asked.keys as &[Vec<u8>],
                    &asked.emissions as &[PgInterval],
                    &asked.tolerances as &[PgInterval],
                    &repeated.keys as &[Vec<u8>],
                    &repeated.emissions as &[PgInterval],
                    &repeated.tolerances as &[PgInterval],
                    retries.1.as_slice() as &[Vec<u8>],
                )
            })
            .await?;
        let possible: Vec<Quota> = quotas.iter().chain(&retries.0).copied().collect();
        rate_limit::check(row.refused, row.waits, &possible, &[])?;
        found(
            row.is_erased,
            (row.user_id, row.payload_mac, row.answer, row.password_hash),
        )
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
        self.database
            .call("SignUp.wrong", Context::Service, Effect::Once, deadline)
            .fetch_one(|| {
                sqlx::query!(
                    r#"
                    SELECT /* SignUp.wrong */ noted AS "noted!"
                    FROM identity.note_wrong_password_1($1, $2, '{}', '0', '0', NULL, NULL, $3)"#,
                    None::<Uuid>,
                    failures.as_slice() as &[Vec<u8>],
                    at,
                )
            })
            .await?;
        Ok(())
    }

    /// Stores an account, its consents, the request, the message to data and the first audit event: all of it or
    /// nothing. The caller delivers the message until its lease ends. The account counts towards `quotas`, in the same
    /// transaction: a sign-up that fails for another reason uses nothing up.
    ///
    /// Takes one round trip.
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
        let (person, limits) = (account.id, Arrays::of(quotas));
        let row = self
            .database
            .call("SignUp", Context::AnonymousFor(person), Effect::Repeatable, deadline)
            .fetch_one(|| {
                sqlx::query!(
                    r#"
                    SELECT /* SignUp */ refused, waits
                    FROM identity.sign_up_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
                        $18, $19, $20)"#,
                    person.as_uuid(),
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
                    Json(&answer) as _,
                    message.id,
                    message.attempts,
                    rate_limit::interval(LEASE),
                    origin.service.as_deref(),
                    origin.network_mac.as_ref().map(StoredMac::as_bytes),
                    &limits.keys as &[Vec<u8>],
                    &limits.emissions as &[PgInterval],
                    &limits.tolerances as &[PgInterval],
                )
            })
            .await?;
        rate_limit::check(row.refused, row.waits, quotas, &[]).map_err(SignUpError::Limited)
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
        let row = sqlx::query!(
            r#"
            SELECT /* SignUp.find */
                   identity.is_erased_sign_up($1) AS "is_erased!", user_id AS "user_id?", payload_mac AS "payload_mac?",
                answer AS "answer?: Json<Answer>", password_hash AS "password_hash?"
            FROM (VALUES (1)) AS always LEFT JOIN identity.find_sign_up($1) ON true"#,
            request_id,
        )
        .fetch_one(&mut tx)
        .await
        .map_err(DbError::from)?;
        tx.commit().await?;
        found(
            row.is_erased,
            (row.user_id, row.payload_mac, row.answer, row.password_hash),
        )
    }
}

/// The columns of a sign-up that was found, each `None` when there is none.
type Columns = (
    Option<Uuid>,
    Option<Vec<u8>>,
    Option<Json<Answer>>,
    Option<String>,
);

/// Returns the sign-up that was found, or why it is not returned.
fn found(is_erased: bool, columns: Columns) -> Result<Option<EarlierSignUp>, EarlierSignUpError> {
    if is_erased {
        return Err(EarlierSignUpError::Erased);
    }
    let (Some(user_id), Some(payload_mac), Some(answer), Some(password_hash)) = columns else {
        return Ok(None);
    };
    let created_at = DateTime::from_timestamp_micros(answer.created_at_micros)
        .ok_or_else(|| DbError::unexpected("the stored answer of a sign-up has no valid time"))?;
    Ok(Some(EarlierSignUp {
        user_id: UserId::new(user_id),
        payload_mac,
        created_at,
        password_hash: PasswordHash::new(password_hash),
    }))
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
            // The last one is that of the same statement, which was sent again after it was committed.
            Some("users_email_canonical_key" | "requests_sign_up_key" | "users_pkey") => Self::Exists,
            Some("erasures_sign_up_digest") => Self::Erased,
            _ => Self::Database(error),
        }
    }
}
