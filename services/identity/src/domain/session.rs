//! Sessions, and the requests that begin and end them.

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use haven_platform::{call::UserId, request_key::RequestKey};
use uuid::Uuid;

use super::{
    account::PasswordHash,
    audit::Origin,
    consent::RequiredConsents,
    device_token::KeptDevice,
    rate_limit::FailureKeys,
    refresh_token::{NewRefreshToken, REFRESH_TOKEN_LIFETIME},
};

/// The lifetime of an access token.
pub const ACCESS_TOKEN_LIFETIME: TimeDelta = TimeDelta::minutes(15);

/// A session, with the claims of its newest tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// The id of the session.
    pub id: Uuid,
    /// The id of the session's person.
    pub user_id: UserId,
    /// The time at which the newest tokens were issued, in whole seconds, as in a token (RFC 7519, section 2,
    /// "NumericDate").
    pub issued_at: DateTime<Utc>,
    /// The time at which the newest access token expires, in whole seconds.
    pub expires_at: DateTime<Utc>,
    /// The time at which the newest refresh token expires, and the session with it.
    pub refresh_expires_at: DateTime<Utc>,
}

/// A session to begin (SignIn).
#[derive(Debug)]
pub struct NewSession<'a> {
    /// The session that begins.
    pub session: Session,
    /// The session's first refresh token.
    pub token: NewRefreshToken,
    /// The request's key, by which a retry is recognized.
    pub request: &'a RequestKey,
    /// The version of the password that was checked.
    pub password_version: i64,
    /// The password's hash with current parameters, when the stored hash is outdated.
    pub upgraded: Option<PasswordHash>,
    /// The keys under which the caller's wrong passwords are counted. The count is reset.
    pub failures: FailureKeys,
    /// The token of the device, to store or to renew.
    pub device: KeptDevice,
    /// `true` when the account's address must be verified.
    pub requires_verified: bool,
    /// The maximum number of the person's sessions, this one included.
    pub max_sessions: i32,
    /// The consents that the access token states as missing when they are not in effect.
    pub required_consents: &'a RequiredConsents,
    /// The origin of the call, for the audit log.
    pub origin: &'a Origin,
    /// The time of the sign-in.
    pub at: DateTime<Utc>,
}

/// A session to end (SignOut, RevokeSession).
#[derive(Clone, Copy, Debug)]
pub struct SessionEnd<'a> {
    /// The id of the session.
    pub session_id: Uuid,
    /// The reason for the end.
    pub reason: EndReason,
    /// The origin of the call, for the audit log.
    pub origin: &'a Origin,
    /// The time of the end.
    pub at: DateTime<Utc>,
}

/// A session as ListSessions shows it to its person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedSession {
    /// The id of the session.
    pub id: Uuid,
    /// The time at which the session began.
    pub began_at: DateTime<Utc>,
    /// The time of the last refresh, or of the beginning when the session was never refreshed.
    pub refreshed_at: DateTime<Utc>,
    /// The time at which the session ends unless it is refreshed.
    pub expires_at: DateTime<Utc>,
}

/// The reason for which one session ended early. Functions of the schema that end sessions have reasons of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The person signed out.
    SignedOut,
    /// The person ended the session from another one.
    Revoked,
}

// === impl Session ===

impl Session {
    /// A new session that begins at `now`.
    #[must_use]
    pub fn begin(id: Uuid, user_id: UserId, now: DateTime<Utc>) -> Self {
        let issued_at = now.trunc_subsecs(0);
        Self {
            id,
            user_id,
            issued_at,
            expires_at: issued_at + ACCESS_TOKEN_LIFETIME,
            refresh_expires_at: issued_at + REFRESH_TOKEN_LIFETIME,
        }
    }
}

// === impl EndReason ===

impl EndReason {
    /// The name under which the reason is stored.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SignedOut => "signed_out",
            Self::Revoked => "revoked",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_begins_in_whole_seconds() {
        let at = DateTime::from_timestamp(1_800_000_000, 987_654_000).unwrap();
        let begun = Session::begin(Uuid::from_u128(2), UserId::new(Uuid::from_u128(1)), at);
        assert_eq!(begun.issued_at, at.trunc_subsecs(0));
        assert_eq!(begun.expires_at - begun.issued_at, TimeDelta::minutes(15));
        assert_eq!(begun.refresh_expires_at - begun.issued_at, TimeDelta::days(30));
    }
}
