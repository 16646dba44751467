//! The requests that act on the password of a signed-in person.

use chrono::{DateTime, Utc};
use haven_platform::request_key::RequestKey;
use uuid::Uuid;

use crate::domain::{
    account::PasswordHash,
    audit::{AuditEventType, Origin},
    rate_limit::FailureKeys,
};

/// A password to set (ChangePassword).
#[derive(Debug)]
pub struct PasswordChange<'a> {
    /// The new password's hash.
    pub hash: &'a PasswordHash,
    /// The version of the password that was checked, which the new one replaces.
    pub replaces: i64,
    /// The request's key, by which a retry is recognized.
    pub request: &'a RequestKey,
    /// The session of the call. It is the only one that does not end.
    pub session_id: Option<Uuid>,
    /// The keys under which the account's wrong passwords are counted. The count is reset.
    pub failures: &'a FailureKeys,
    /// The origin of the call, for the audit log.
    pub origin: &'a Origin,
    /// The time of the change.
    pub at: DateTime<Utc>,
}

/// A wrong password that a signed-in person sent.
#[derive(Debug)]
pub struct WrongPassword<'a> {
    /// The action that the password was to confirm, for the audit log.
    pub event: AuditEventType,
    /// The session of the call.
    pub session_id: Option<Uuid>,
    /// The keys under which the account's wrong passwords are counted.
    pub failures: &'a FailureKeys,
    /// The origin of the call, for the audit log.
    pub origin: &'a Origin,
    /// The time of the attempt.
    pub at: DateTime<Utc>,
}
