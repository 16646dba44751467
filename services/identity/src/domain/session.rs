//! A person's session.

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use haven_platform::call::UserId;
use uuid::Uuid;

/// How long an access token is accepted.
pub const ACCESS_TOKEN_LIFETIME: TimeDelta = TimeDelta::minutes(15);

/// A session, and with it all that its access token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// The session's id.
    pub id: Uuid,
    /// Whose it is.
    pub user_id: UserId,
    /// When its access token was issued, in whole seconds, as a token says it (RFC 7519, section 2, "NumericDate").
    pub issued_at: DateTime<Utc>,
    /// When its access token expires, in whole seconds.
    pub expires_at: DateTime<Utc>,
}

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
        }
    }
}
