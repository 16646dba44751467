//! What an export has of a person beyond what the lists show.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::account::Account;

/// The account in an export.
#[derive(Clone, Debug)]
pub struct ExportedAccount {
    /// The account.
    pub account: Account,
    /// The time at which the current password was set. `None` when there is none, or when the time is not stored.
    pub password_set_at: Option<DateTime<Utc>>,
}

/// A session in an export, which may have ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportedSession {
    /// The id of the session.
    pub id: Uuid,
    /// The time at which the session began.
    pub began_at: DateTime<Utc>,
    /// The time of the last refresh. `None` when the session was never refreshed.
    pub refreshed_at: Option<DateTime<Utc>>,
    /// The time at which the newest access token expires.
    pub access_expires_at: DateTime<Utc>,
    /// The time at which the session ends unless it is refreshed.
    pub expires_at: DateTime<Utc>,
    /// The time at which the session ended early, and the name of the reason as it is stored. `None` when it did not.
    pub end: Option<(DateTime<Utc>, String)>,
}

/// A refresh token in an export, without its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportedRefreshToken {
    /// The id of the row.
    pub id: Uuid,
    /// The id of the token's session.
    pub session_id: Uuid,
    /// The time at which the token was issued.
    pub issued_at: DateTime<Utc>,
    /// The time at which the token expires.
    pub expires_at: DateTime<Utc>,
    /// The time at which the token was used. `None` when it was not.
    pub used_at: Option<DateTime<Utc>>,
}

/// A recovery token in an export, without its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportedRecoveryToken {
    /// The id of the row.
    pub id: Uuid,
    /// The name of the kind, as it is stored.
    pub kind: String,
    /// The address that the account gets, or gets back.
    pub email: Option<String>,
    /// The id of the token of the change that this token takes back.
    pub change_id: Option<Uuid>,
    /// The time at which the token was requested.
    pub issued_at: DateTime<Utc>,
    /// The time at which the token expires.
    pub expires_at: DateTime<Utc>,
    /// The time of the change that this token takes back.
    pub opened_at: Option<DateTime<Utc>>,
    /// The time at which the token was used. `None` when it was not.
    pub spent_at: Option<DateTime<Utc>>,
}

/// A device token in an export, without its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportedDeviceToken {
    /// The id of the row.
    pub id: Uuid,
    /// The time at which the token was issued.
    pub issued_at: DateTime<Utc>,
    /// The time at which the token expires.
    pub expires_at: DateTime<Utc>,
}
