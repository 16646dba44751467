//! Recovery tokens: the SQL of `RecoveryService`.

mod confirm_email_change;
mod create_email_change;
mod create_email_verification;
mod create_password_reset;
mod earlier;
mod find_token;
mod issue;
mod reset_password;
mod undo_email_change;
mod verify_email;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use haven_platform::database::{Database, DbError};
use serde::{Deserialize, Serialize};
use sqlx::postgres::types::PgInterval;
use thiserror::Error;

pub use self::{
    create_email_verification::Verification,
    create_password_reset::{FoundAddress, ResetRequest},
    earlier::Earlier,
    find_token::FoundToken,
    reset_password::Reset,
    undo_email_change::Undone,
};
use super::rate_limit::LimitError;

/// The recovery tokens of all people.
#[derive(Clone, Debug)]
pub struct Recovery {
    database: Arc<Database>,
}

/// The stored answer of a request for tokens. The tokens are derived from the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    /// The time from which the token is no longer accepted, in microseconds since 1970.
    pub expires_at_micros: i64,
    /// The same of the token that takes the change back.
    #[serde(default)]
    pub undo_expires_at_micros: Option<i64>,
    /// A keyed hash of the account's address at the time of the request.
    #[serde(default)]
    pub address: Option<[u8; 32]>,
}

/// The stored answer of the use of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// The time that the answer states, in microseconds since 1970.
    pub at_micros: i64,
    /// The number of sessions that ended.
    #[serde(default)]
    pub ended_sessions: i32,
    /// The version of the password that was set.
    #[serde(default)]
    pub password_version: Option<i64>,
    /// The time from which the token of a password reset that was answered is no longer accepted.
    #[serde(default)]
    pub reset_expires_at_micros: Option<i64>,
}

/// The error when no token was created.
#[derive(Debug, Error)]
pub enum CreateError {
    /// The account never existed.
    #[error("there is no such account")]
    NotFound,
    /// The account was erased.
    #[error("the account was erased")]
    Erased,
    /// The account has no address, because another provider signs the person in.
    #[error("the account has no address")]
    External,
    /// The new address is the account's.
    #[error("the account has this address")]
    SameAddress,
    /// The new address belongs to another account, or is reserved for one.
    #[error("the address belongs to another account")]
    EmailTaken,
    /// The address was changed so often that the changes can be undone.
    #[error("too many changes can be undone")]
    TooManyChanges,
    /// The request id belongs to a request with other content.
    #[error("the request id belongs to another request")]
    RequestIdReused,
    /// Another call with the same request id came first. Reading again tells its answer.
    #[error("another call with this request id came first")]
    Outdated,
    /// The call is over a limit, or the database failed.
    #[error(transparent)]
    Limited(#[from] LimitError),
}

/// The error when a token was not used.
#[derive(Debug, Error)]
pub enum UseError {
    /// The token was used, ended or expired, or the request id was used. Finding the token again tells which.
    #[error("the token is outdated")]
    Outdated,
    /// The address belongs to another account. The token was not used.
    #[error("the address belongs to another account")]
    EmailTaken,
    /// The database failed, or cannot be reached.
    #[error(transparent)]
    Database(DbError),
}

// === impl Recovery ===

impl Recovery {
    /// The tokens in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }
}

/// Converts a lifetime into a parameter of a statement.
fn interval(lifetime: TimeDelta) -> PgInterval {
    PgInterval {
        months: 0,
        days: 0,
        microseconds: lifetime.num_microseconds().unwrap_or(i64::MAX),
    }
}

/// Converts a stored time.
pub(super) fn from_micros(micros: i64) -> Result<DateTime<Utc>, DbError> {
    DateTime::from_timestamp_micros(micros)
        .ok_or_else(|| DbError::unexpected("a stored answer of recovery has no valid time"))
}

// === impl Created ===

impl Created {
    /// The time from which the token is no longer accepted.
    ///
    /// # Errors
    ///
    /// When the stored number is not a time.
    pub fn expires_at(&self) -> Result<DateTime<Utc>, DbError> {
        from_micros(self.expires_at_micros)
    }

    /// The time from which the token that takes the change back is no longer accepted.
    ///
    /// # Errors
    ///
    /// When the stored number is not a time.
    pub fn undo_expires_at(&self) -> Result<DateTime<Utc>, DbError> {
        from_micros(self.undo_expires_at_micros.unwrap_or(i64::MAX))
    }
}

// === impl Used ===

impl Used {
    /// The time that the answer states.
    ///
    /// # Errors
    ///
    /// When the stored number is not a time.
    pub fn at(&self) -> Result<DateTime<Utc>, DbError> {
        from_micros(self.at_micros)
    }

    /// The time from which the token of a password reset that was answered is no longer accepted.
    ///
    /// # Errors
    ///
    /// When the stored number is not a time.
    pub fn reset_expires_at(&self) -> Result<DateTime<Utc>, DbError> {
        from_micros(self.reset_expires_at_micros.unwrap_or(i64::MAX))
    }
}

// === impl CreateError ===

impl From<DbError> for CreateError {
    fn from(error: DbError) -> Self {
        match error.constraint() {
            Some("requests_pkey") => Self::Outdated,
            // The request id created this token before, so long ago that the request is forgotten.
            Some("recovery_tokens_token_hash_key") => Self::RequestIdReused,
            _ => Self::Limited(error.into()),
        }
    }
}

// === impl UseError ===

impl From<DbError> for UseError {
    fn from(error: DbError) -> Self {
        match error.constraint() {
            Some("requests_pkey") => Self::Outdated,
            Some("users_email_canonical_key") => Self::EmailTaken,
            _ => Self::Database(error),
        }
    }
}
