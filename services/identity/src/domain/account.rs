//! A person's account.

use std::fmt;

use chrono::{DateTime, Utc};
use haven_platform::call::UserId;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::{consent::Consent, email::EmailAddress, goals::Goals, progress::Progress};

/// The version of what has never changed.
pub const FIRST_VERSION: i64 = 1;

/// A password's hash, as a PHC string. `Debug` does not show it.
#[derive(Clone)]
pub struct PasswordHash(SecretString);

/// A person's account, as it is kept. `Debug` does not show the email address.
#[derive(Clone, Debug)]
pub struct Account {
    /// The person's id.
    pub id: UserId,
    /// The email address as its person typed it. None: another provider signed them in, or it was not asked for.
    pub email: Option<SecretString>,
    /// What the person wants to work on. None: another provider signed them in, and they have not said yet.
    pub goals: Option<Goals>,
    /// How far the person has come.
    pub progress: Progress,
    /// When the person last signed in, or refreshed a session.
    pub last_active_at: Option<DateTime<Utc>>,
    /// When the account was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// Grows by one with each change.
    pub version: i64,
}

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
