//! The security audit log: who did what, how it ended, and no personal text.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditEventType {
    /// The account was made.
    SignUp,
    /// Somebody tried to begin a session.
    SignIn,
    /// The person ended a session.
    SignOut,
    /// Somebody tried to change the password.
    PasswordChange,
    /// A used refresh token came back.
    TokenReuse,
    /// A consent was granted.
    ConsentGrant,
    /// A consent was withdrawn.
    ConsentWithdraw,
    /// The stage moved on, or the person graduated.
    Stage,
    /// Somebody tried to delete the account.
    Deletion,
}

/// Where a call came from, as far as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The service that called, where one did.
    pub service: Option<String>,
    /// A keyed hash of the client's network, where it is known.
    pub network_mac: Option<[u8; 32]>,
}

/// An event to append.
#[derive(Clone, Debug)]
pub struct NewAuditEvent<'a> {
    /// What happened.
    pub event: AuditEventType,
    /// Whether it was refused.
    pub refused: bool,
    /// Where the call came from.
    pub origin: &'a Origin,
    /// The session that it was about, where there is one.
    pub session_id: Option<Uuid>,
    /// When.
    pub at: DateTime<Utc>,
}

/// An event of a person's log, as its person sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEvent {
    /// Its place in the log: 1, 2, 3 and so on.
    pub number: i64,
    /// What happened.
    pub event: AuditEventType,
    /// Whether it was refused.
    pub refused: bool,
    /// The service that called, where one did.
    pub service: Option<String>,
    /// The session that it was about, where there is one.
    pub session_id: Option<Uuid>,
    /// When.
    pub at: DateTime<Utc>,
}

impl AuditEventType {
    /// Everything that can happen.
    pub const ALL: [Self; 9] = [
        Self::SignUp,
        Self::SignIn,
        Self::SignOut,
        Self::PasswordChange,
        Self::TokenReuse,
        Self::ConsentGrant,
        Self::ConsentWithdraw,
        Self::Stage,
        Self::Deletion,
    ];

    /// The name that it is stored under.
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
        }
    }

    /// What is stored under that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_known_by_its_name() {
        for event in AuditEventType::ALL {
            assert_eq!(AuditEventType::from_name(event.name()), Some(event));
        }
        assert_eq!(AuditEventType::from_name("x"), None);
    }
}
