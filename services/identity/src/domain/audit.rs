//! The events of the security audit log, which hold no personal text.

use chrono::{DateTime, Utc};
use haven_platform::mac::StoredMac;
use uuid::Uuid;

/// The type of an audit event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditEventType {
    /// The account was created.
    SignUp,
    /// A sign-in was attempted.
    SignIn,
    /// The person ended a session.
    SignOut,
    /// A change of the password was attempted.
    PasswordChange,
    /// A used refresh token was sent again.
    TokenReuse,
    /// A consent was granted.
    ConsentGrant,
    /// A consent was withdrawn.
    ConsentWithdraw,
    /// The stage moved on, or the person graduated.
    Stage,
    /// The deletion of the account was attempted.
    Deletion,
    /// A token for a password reset was requested.
    PasswordResetRequest,
    /// A password reset was attempted.
    PasswordReset,
    /// A token for the verification of the address was requested.
    EmailVerificationRequest,
    /// The address was verified.
    EmailVerification,
    /// Tokens for a change of the address were requested.
    EmailChangeRequest,
    /// The address was changed.
    EmailChange,
    /// A change of the address was taken back.
    EmailUndo,
    /// An export of the account was started or continued.
    AccountExport,
    /// The account was imported.
    AccountImport,
}

/// The origin of a call, as far as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The name of the calling service. `None` when a client called directly.
    pub service: Option<String>,
    /// A keyed hash of the client's network. `None` when the network is unknown.
    pub network_mac: Option<StoredMac>,
}

/// An event to append.
#[derive(Clone, Debug)]
pub struct NewAuditEvent<'a> {
    /// The type of the event.
    pub event: AuditEventType,
    /// `true` when the call was refused.
    pub refused: bool,
    /// The origin of the call.
    pub origin: &'a Origin,
    /// The session that the event concerns, if any.
    pub session_id: Option<Uuid>,
    /// The time of the event.
    pub at: DateTime<Utc>,
}

/// An event as ListAuditEvents shows it to its person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEvent {
    /// The event's number in the person's log: 1, 2, 3 and so on.
    pub number: i64,
    /// The type of the event.
    pub event: AuditEventType,
    /// `true` when the call was refused.
    pub refused: bool,
    /// The name of the calling service. `None` when a client called directly.
    pub service: Option<String>,
    /// The session that the event concerns, if any.
    pub session_id: Option<Uuid>,
    /// The time of the event.
    pub at: DateTime<Utc>,
}

impl AuditEventType {
    /// All types of events.
    pub const ALL: [Self; 18] = [
        Self::SignUp,
        Self::SignIn,
        Self::SignOut,
        Self::PasswordChange,
        Self::TokenReuse,
        Self::ConsentGrant,
        Self::ConsentWithdraw,
        Self::Stage,
        Self::Deletion,
        Self::PasswordResetRequest,
        Self::PasswordReset,
        Self::EmailVerificationRequest,
        Self::EmailVerification,
        Self::EmailChangeRequest,
        Self::EmailChange,
        Self::EmailUndo,
        Self::AccountExport,
        Self::AccountImport,
    ];

    /// The name under which the type is stored.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SignUp => "sign_up",
            Self::SignIn => "sign_in",
            Self::SignOut => "sign_out",
            Self::PasswordChange => "password_change",
            Self::TokenReuse => "token_reuse",
            Self::ConsentGrant => "consent_grant",
            Self::ConsentWithdraw => "consent_withdraw",
            Self::Stage => "stage",
            Self::Deletion => "deletion",
            Self::PasswordResetRequest => "password_reset_request",
            Self::PasswordReset => "password_reset",
            Self::EmailVerificationRequest => "email_verification_request",
            Self::EmailVerification => "email_verification",
            Self::EmailChangeRequest => "email_change_request",
            Self::EmailChange => "email_change",
            Self::EmailUndo => "email_undo",
            Self::AccountExport => "account_export",
            Self::AccountImport => "account_import",
        }
    }

    /// The type that is stored under `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_type_is_found_by_its_name() {
        for event in AuditEventType::ALL {
            assert_eq!(AuditEventType::from_name(event.name()), Some(event));
        }
        assert_eq!(AuditEventType::from_name("x"), None);
    }
}
