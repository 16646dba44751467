//! A person's account, and the requests that create, change and list accounts.

use std::fmt;

use chrono::{DateTime, Utc};
use haven_platform::{call::UserId, request_key::RequestKey};
use secrecy::{ExposeSecret, SecretString};

use super::{
    consent::NewConsent,
    email::EmailAddress,
    goals::Goals,
    progress::{Progress, Stage, Step},
};

/// The version of an account that has not changed since it was created.
pub const FIRST_VERSION: i64 = 1;

/// A password's hash, as a PHC string. `Debug` does not show it.
#[derive(Clone)]
pub struct PasswordHash(SecretString);

/// A person's account. `Debug` does not show the email address.
#[derive(Clone, Debug)]
pub struct Account {
    /// The id of the account's person.
    pub id: UserId,
    /// The email address as the person typed it. `None` when another provider signed the person in, or when the caller
    /// did not ask for it.
    pub email: Option<SecretString>,
    /// The time at which the person proved that the address is theirs.
    pub email_verified_at: Option<DateTime<Utc>>,
    /// The person's goals. `None` when another provider signed the person in and they have not set any yet.
    pub goals: Option<Goals>,
    /// The person's stage, and the time of their graduation.
    pub progress: Progress,
    /// The time of the person's last sign-in or session refresh.
    pub last_active_at: Option<DateTime<Utc>>,
    /// The time at which the account was created.
    pub created_at: DateTime<Utc>,
    /// The time of the last change.
    pub updated_at: DateTime<Utc>,
    /// The account's version, which grows by one with each change.
    pub version: i64,
}

/// An account to create (SignUp).
#[derive(Debug)]
pub struct NewAccount {
    /// The person's id, generated for this sign-up.
    pub id: UserId,
    /// The email address, as entered and in canonical form.
    pub email: EmailAddress,
    /// The hash of the chosen password.
    pub password_hash: PasswordHash,
    /// The goals that the person chose.
    pub goals: Goals,
    /// The consents that the person grants.
    pub consents: Vec<NewConsent>,
    /// The time at which the account is created.
    pub created_at: DateTime<Utc>,
}

/// The new values of an UpdateAccount request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountChange {
    /// Replaces the goals. Only the person may do this.
    Goals(Goals),
    /// Moves the stage on, or graduates. Only a service may do this.
    Step(Step),
}

/// The conditions and the time of an UpdateAccount request.
#[derive(Clone, Copy, Debug)]
pub struct AccountEdit {
    /// The version that the change is based on. Any other current version is a conflict.
    pub expected_version: i64,
    /// The time of the change.
    pub at: DateTime<Utc>,
    /// The request's key, by which a retry is recognized.
    pub request: RequestKey,
}

/// The filter of a ListAccounts request. A field that is `None` does not filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountFilter {
    /// Lists only accounts at this stage.
    pub stage: Option<Stage>,
    /// Lists only accounts that were created at this time or later.
    pub created_from: Option<DateTime<Utc>>,
    /// Lists only accounts that were created before this time.
    pub created_before: Option<DateTime<Utc>>,
}

/// The role in which a caller reads an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActingAs {
    /// The account's person, calling directly or through a service.
    Person,
    /// A service that calls on its own behalf.
    Service,
}

impl PasswordHash {
    /// Wraps the PHC string `phc`.
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
