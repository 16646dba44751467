//! Accounts that are imported from another system (ImportAccounts).

use chrono::{DateTime, Utc};
use haven_platform::{call::UserId, mac::StoredMacs};

use super::{account::PasswordHash, consent::NewConsent, email::EmailAddress, goals::Goals};

/// The maximum number of accounts of one call, which bounds the response: each has at most 750 bytes in it.
pub const MAX_ACCOUNTS: usize = 5_000;

/// The maximum number of violations in the outcome of one account.
pub const MAX_VIOLATIONS: usize = 3;

/// An account to import.
#[derive(Debug)]
pub struct ImportedAccount {
    /// The id that the person gets.
    pub id: UserId,
    /// The email address, as entered and in canonical form.
    pub email: EmailAddress,
    /// The time at which the person proved to the other system that the address is theirs.
    pub email_verified_at: Option<DateTime<Utc>>,
    /// The hash of the person's password.
    pub password_hash: PasswordHash,
    /// The person's goals.
    pub goals: Goals,
    /// The consents that the person gave to the other system.
    pub consents: Vec<ImportedConsent>,
    /// The keyed hashes of the content, by which a repeated import is recognized.
    pub macs: StoredMacs,
    /// The time of the import.
    pub at: DateTime<Utc>,
}

/// A consent that was given to another system.
#[derive(Debug)]
pub struct ImportedConsent {
    /// The consent.
    pub new: NewConsent,
    /// The time at which it was given.
    pub granted_at: DateTime<Utc>,
}

/// What became of an account that was to be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportOutcome {
    /// The account was created.
    Created,
    /// The account exists, from an earlier import of the same content.
    Exists,
    /// An account with this id and other content exists.
    Differs,
    /// Another account has the address, or may get it back.
    EmailTaken,
    /// The account was erased.
    Erased,
}

impl ImportOutcome {
    /// All outcomes.
    pub const ALL: [Self; 5] = [
        Self::Created,
        Self::Exists,
        Self::Differs,
        Self::EmailTaken,
        Self::Erased,
    ];

    /// The name by which the database answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Exists => "exists",
            Self::Differs => "differs",
            Self::EmailTaken => "email_taken",
            Self::Erased => "erased",
        }
    }

    /// The outcome with the name `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.name() == name)
    }
}
