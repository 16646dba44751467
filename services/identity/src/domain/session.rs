//! A person's session.

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use haven_platform::call::UserId;
use uuid::Uuid;

use super::refresh_token::REFRESH_TOKEN_LIFETIME;

/// How long an access token is accepted.
pub const ACCESS_TOKEN_LIFETIME: TimeDelta = TimeDelta::minutes(15);

/// A session, and with it all that its newest tokens say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// The session's id.
    pub id: Uuid,
    /// Whose it is.
    pub user_id: UserId,
    /// When its newest tokens were issued, in whole seconds, as a token says it (RFC 7519, section 2, "NumericDate").
    pub issued_at: DateTime<Utc>,
    /// When its newest access token expires, in whole seconds.
    pub expires_at: DateTime<Utc>,
    /// When its newest refresh token expires, and the session with it.
    pub refresh_expires_at: DateTime<Utc>,
}

/// A session as its person sees it in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedSession {
    /// The session's id.
    pub id: Uuid,
    /// When it began.
    pub began_at: DateTime<Utc>,
    /// When it was last refreshed; when it began, if it never was.
    pub refreshed_at: DateTime<Utc>,
    /// When it ends unless it is refreshed.
    pub expires_at: DateTime<Utc>,
}

/// Why a session ended before its time. What ends all of a person's is said where that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// Its person signed out of it.
    SignedOut,
    /// Its person ended it from another one.
    Revoked,
    /// A used refresh token of it came back.
    TokenReused,
}

// === impl Session ===

impl Session {
    /// A session that begins at `now`.
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

    /// The same session with tokens of `now`. Never older ones than it has, whatever two clocks say.
    #[must_use]
    pub fn refreshed(self, now: DateTime<Utc>) -> Self {
        Self::begin(self.id, self.user_id, now.max(self.issued_at))
    }
}

// === impl EndReason ===

impl EndReason {
    /// The name that it is stored under.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SignedOut => "signed_out",
            Self::Revoked => "revoked",
            Self::TokenReused => "token_reused",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refreshed_session_lasts_longer_and_never_less_long() {
        let at = |seconds: i64| DateTime::from_timestamp(1_800_000_000 + seconds, 987_654_000).unwrap();
        let begun = Session::begin(Uuid::from_u128(2), UserId::new(Uuid::from_u128(1)), at(0));
        assert_eq!(begun.issued_at, at(0).trunc_subsecs(0));
        assert_eq!(begun.expires_at - begun.issued_at, TimeDelta::minutes(15));
        assert_eq!(begun.refresh_expires_at - begun.issued_at, TimeDelta::days(30));
        let refreshed = begun.refreshed(at(60));
        assert_eq!((refreshed.id, refreshed.user_id), (begun.id, begun.user_id));
        assert_eq!(refreshed.expires_at - begun.expires_at, TimeDelta::minutes(1));
        assert_eq!(
            refreshed.refresh_expires_at - begun.refresh_expires_at,
            TimeDelta::minutes(1)
        );
        assert_eq!(refreshed.refreshed(at(30)), refreshed, "by a slow clock");
    }
}
