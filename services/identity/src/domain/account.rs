//! A person's account.

use std::fmt;

use chrono::{DateTime, Utc};
use haven_platform::call::UserId;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::{consent::Consent, email::EmailAddress, goals::Goals};

/// The stage that everybody begins at, of three.
pub const FIRST_STAGE: i32 = 1;

/// The version of what has never changed.
pub const FIRST_VERSION: i64 = 1;

/// A password's hash, as a PHC string. `Debug` does not show it.
#[derive(Clone)]
pub struct PasswordHash(SecretString);

/// What a sign-up makes.
#[derive(Debug)]
pub struct NewAccount {
    /// The person's id, made for this sign-up.
    pub id: UserId,
    /// The email address.
    pub email: EmailAddress,
    /// The password's hash.
    pub password_hash: PasswordHash,
    /// What the person wants to work on.
    pub goals: Goals,
    /// What the person agrees to.
    pub consents: Vec<NewConsent>,
    /// When the account is made.
    pub created_at: DateTime<Utc>,
}

/// An agreement to write into the ledger.
#[derive(Debug)]
pub struct NewConsent {
    /// The agreement's id.
    pub id: Uuid,
    /// To what.
    pub consent: Consent,
}

impl PasswordHash {
    /// The hash that `phc` is.
    #[must_use]
    pub fn new(phc: String) -> Self {
        Self(phc.into())
    }

    /// The PHC string, to store or to check against.
    pub(crate) fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash([redacted])")
    }
}
