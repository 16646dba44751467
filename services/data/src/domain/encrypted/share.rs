//! Shares: encrypted content that a person gives to a recipient without an account, and the log of attempts to open it.

use chrono::{DateTime, TimeDelta, Utc};
use haven_platform::{call::UserId, mac::StoredMac, time::CLIENT_CLOCK_SKEW};
use uuid::Uuid;

use super::{envelope::Encrypted, passcode::PasscodeHash};

/// The longest time from a share's creation to its expiry.
pub const MAX_LIFETIME: TimeDelta = TimeDelta::days(90);

/// The greatest `max_access_count` that a share may have.
pub const MAX_ACCESSES: i32 = 1_000;

/// The number of wrong passcodes that locks a share. The SQL function that opens shares has the same number.
const MAX_WRONG_PASSCODES: i32 = 5;

/// A share, without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The share's id, unique per person.
    pub id: Uuid,
    /// The time from which the share can no longer be opened.
    pub expires_at: DateTime<Utc>,
    /// The number of times that the share may be opened.
    pub max_access_count: i32,
    /// The number of times that the share was opened.
    pub access_count: i32,
    /// The number of refused attempts, including those that are not in the log.
    pub refusal_count: i64,
    /// The number of attempts with a wrong passcode.
    pub wrong_passcodes: i32,
    /// The time at which the share was last opened. `None` when it never was.
    pub last_accessed_at: Option<DateTime<Utc>>,
    /// The time at which the share was created.
    pub created_at: DateTime<Utc>,
    /// The time of the revocation. `None` when the share is not revoked.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// The state of a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShareState {
    /// The share can be opened.
    Active,
    /// The share has expired.
    Expired,
    /// The person revoked the share.
    Revoked,
    /// The share was opened `max_access_count` times.
    UsedUp,
    /// Five wrong passcodes were tried.
    Locked,
}

/// The type of device on which a share is opened, as stated by the recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceType {
    /// A phone or a tablet.
    Mobile,
    /// A desktop or laptop computer.
    Desktop,
    /// A type that was not stated.
    Unknown,
}

/// The outcome of an attempt to open a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessOutcome {
    /// The share was opened.
    Opened,
    /// The share had expired.
    Expired,
    /// The share was revoked.
    Revoked,
    /// The share had been opened `max_access_count` times.
    UsedUp,
    /// Five wrong passcodes had been tried.
    Locked,
    /// The share has a passcode, and the attempt had none.
    PasscodeMissing,
    /// The passcode was wrong.
    PasscodeWrong,
}

/// An attempt to open a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareAccess {
    /// The attempt's id, unique per person.
    pub id: Uuid,
    /// The id of the share that the attempt was for.
    pub share_id: Uuid,
    /// The time of the attempt.
    pub accessed_at: DateTime<Utc>,
    /// The type of device, as stated by the recipient.
    pub device_type: DeviceType,
    /// The outcome of the attempt.
    pub outcome: AccessOutcome,
}

/// The content of a share, for the recipient that opened it.
#[derive(Clone)]
pub struct OpenedShare {
    /// The person that made the share.
    pub person: UserId,
    /// The id of the share.
    pub share_id: Uuid,
    /// The content of the share, encrypted by a device.
    pub content: Encrypted,
    /// The time at which the share was created.
    pub created_at: DateTime<Utc>,
    /// The time from which the share can no longer be opened.
    pub expires_at: DateTime<Utc>,
}

/// The rule that the expiry time of a new share breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiryProblem {
    /// The time is not in the future.
    NotInTheFuture,
    /// The time is more than [`MAX_LIFETIME`] away, by more than a client's clock may be wrong.
    TooLate,
}

/// A request to make a share.
pub struct NewShare {
    /// The id of the new share, unique per person.
    pub id: Uuid,
    /// The content of the share, encrypted by a device.
    pub content: Encrypted,
    /// The keyed hash of the share's token.
    pub token_hash: StoredMac,
    /// The hash of the passcode. `None` when the share has no passcode.
    pub passcode_hash: Option<PasscodeHash>,
    /// The expiry time, at most [`MAX_LIFETIME`] after the creation. `None` when no new share can have the requested time: the
    /// request can only be the retry of one that was in time.
    pub expires_at: Option<DateTime<Utc>>,
    /// The number of times that the share may be opened, 1 to [`MAX_ACCESSES`].
    pub max_access_count: i32,
    /// The creation time by the service's clock. The database uses its own time when that is earlier.
    pub created_at: DateTime<Utc>,
}

/// Returns the expiry time of a share that is made at `now`, for the time that the client asks for. A time that is too late by
/// no more than a client's clock may be wrong becomes the latest one.
///
/// # Errors
///
/// See [`ExpiryProblem`].
pub fn expiry(requested: DateTime<Utc>, now: DateTime<Utc>) -> Result<DateTime<Utc>, ExpiryProblem> {
    let latest = now + MAX_LIFETIME;
    if requested <= now {
        Err(ExpiryProblem::NotInTheFuture)
    } else if requested > latest + CLIENT_CLOCK_SKEW {
        Err(ExpiryProblem::TooLate)
    } else {
        Ok(requested.min(latest))
    }
}

// === impl Share ===

impl Share {
    /// Returns the state at `now`. When several states apply, it is the one that an attempt would be logged with.
    #[must_use]
    pub fn state(&self, now: DateTime<Utc>) -> ShareState {
        if self.revoked_at.is_some() {
            ShareState::Revoked
        } else if self.expires_at <= now {
            ShareState::Expired
        } else if self.access_count >= self.max_access_count {
            ShareState::UsedUp
        } else if self.wrong_passcodes >= MAX_WRONG_PASSCODES {
            ShareState::Locked
        } else {
            ShareState::Active
        }
    }
}

// === impl DeviceType ===

impl DeviceType {
    /// Returns the name under which the value is stored.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mobile => "mobile",
            Self::Desktop => "desktop",
            Self::Unknown => "unknown",
        }
    }

    /// Returns the type with this stored name; `None` when there is none.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Mobile, Self::Desktop, Self::Unknown]
            .into_iter()
            .find(|device_type| device_type.name() == name)
    }
}

// === impl AccessOutcome ===

impl AccessOutcome {
    /// All outcomes, in the order of their declaration.
    const ALL: [Self; 7] = [
        Self::Opened,
        Self::Expired,
        Self::Revoked,
        Self::UsedUp,
        Self::Locked,
        Self::PasscodeMissing,
        Self::PasscodeWrong,
    ];

    /// Returns the name under which the value is stored.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::UsedUp => "used_up",
            Self::Locked => "locked",
            Self::PasscodeMissing => "passcode_missing",
            Self::PasscodeWrong => "passcode_wrong",
        }
    }

    /// Returns the outcome with this stored name; `None` when there is none.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share() -> Share {
        let created_at = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        Share {
            id: Uuid::from_u128(1),
            expires_at: created_at + TimeDelta::hours(1),
            max_access_count: 2,
            access_count: 1,
            refusal_count: 0,
            wrong_passcodes: 4,
            last_accessed_at: None,
            created_at,
            revoked_at: None,
        }
    }

    #[test]
    fn a_share_is_active_until_it_expires_is_used_up_is_locked_or_is_revoked() {
        let now = share().created_at;
        let edge = share().expires_at;
        assert_eq!(share().state(now), ShareState::Active);
        assert_eq!(
            share().state(edge - TimeDelta::microseconds(1)),
            ShareState::Active
        );
        assert_eq!(share().state(edge), ShareState::Expired);
        let used_up = Share {
            access_count: 2,
            ..share()
        };
        assert_eq!(used_up.state(now), ShareState::UsedUp);
        let locked = Share {
            wrong_passcodes: 5,
            ..share()
        };
        assert_eq!(locked.state(now), ShareState::Locked);
        // The checks have the order of those in the SQL function.
        let all = Share {
            access_count: 2,
            revoked_at: Some(now),
            ..locked
        };
        assert_eq!(all.state(edge), ShareState::Revoked);
        let unrevoked = Share {
            revoked_at: None,
            ..all
        };
        assert_eq!(unrevoked.state(edge), ShareState::Expired);
        assert_eq!(unrevoked.state(now), ShareState::UsedUp);
    }

    #[test]
    fn an_expiry_time_that_is_too_late_by_a_wrong_clock_is_the_latest_one() {
        let now = share().created_at;
        let latest = now + TimeDelta::days(90);
        let micro = TimeDelta::microseconds(1);
        let skew = TimeDelta::minutes(5);
        for (requested, expected) in [
            (now, Err(ExpiryProblem::NotInTheFuture)),
            (now + micro, Ok(now + micro)),
            (latest, Ok(latest)),
            (latest + micro, Ok(latest)),
            (latest + skew, Ok(latest)),
            (latest + skew + micro, Err(ExpiryProblem::TooLate)),
        ] {
            assert_eq!(expiry(requested, now), expected, "{requested}");
        }
    }

    #[test]
    fn values_are_found_by_their_stored_names() {
        for device_type in [DeviceType::Mobile, DeviceType::Desktop, DeviceType::Unknown] {
            assert_eq!(DeviceType::from_name(device_type.name()), Some(device_type));
        }
        for outcome in AccessOutcome::ALL {
            assert_eq!(AccessOutcome::from_name(outcome.name()), Some(outcome));
        }
        assert_eq!(DeviceType::from_name("opened"), None);
        assert_eq!(AccessOutcome::from_name("mobile"), None);
    }
}
