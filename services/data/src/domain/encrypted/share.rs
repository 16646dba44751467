//! What people share with somebody who has no account, and who tried to open it.

use chrono::{DateTime, TimeDelta, Utc};
use haven_platform::call::UserId;
use uuid::Uuid;

use super::envelope::Encrypted;

/// For how long something can be shared at most.
pub const LONGEST: TimeDelta = TimeDelta::days(90);

/// How often something that is shared may be opened at most.
pub const MOST_ACCESSES: i32 = 1_000;

/// How many wrong passcodes a share takes in its life. The function that opens shares knows it too.
const MOST_WRONG_PASSCODES: i32 = 5;

/// A share, without what is shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Its id, unique among its person's shares.
    pub id: Uuid,
    /// When its time is over.
    pub expires_at: DateTime<Utc>,
    /// How often it may be opened.
    pub max_access_count: i32,
    /// How often it was.
    pub access_count: i32,
    /// How often somebody tried and was refused, whether or not it was noted down.
    pub refusal_count: i64,
    /// How many wrong passcodes were tried.
    pub wrong_passcodes: i32,
    /// When it was last opened.
    pub last_accessed_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// Whether a share can be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShareState {
    /// It can.
    Active,
    /// Its time is over.
    Expired,
    /// The person revoked it.
    Revoked,
    /// It was opened as often as it may be.
    UsedUp,
    /// As many wrong passcodes were tried as it takes.
    Locked,
}

/// What somebody opens a share with, by their own word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceType {
    /// A telephone or a tablet.
    Mobile,
    /// A computer.
    Desktop,
    /// Not known.
    Unknown,
}

/// What came of an attempt to open a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessOutcome {
    /// It was opened.
    Opened,
    /// Its time was over.
    Expired,
    /// It was revoked.
    Revoked,
    /// It had been opened as often as it may be.
    UsedUp,
    /// As many wrong passcodes had been tried as it takes.
    Locked,
    /// It has a passcode, and none was said.
    PasscodeMissing,
    /// The passcode was wrong.
    PasscodeWrong,
}

/// An attempt to open a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareAccess {
    /// Its id, unique among its person's.
    pub id: Uuid,
    /// The share.
    pub share_id: Uuid,
    /// When.
    pub accessed_at: DateTime<Utc>,
    /// With what.
    pub device_type: DeviceType,
    /// What came of it.
    pub outcome: AccessOutcome,
}

/// What was shared, for whoever opened it.
#[derive(Clone)]
pub struct OpenedShare {
    /// Whose it is.
    pub person: UserId,
    /// The share.
    pub share_id: Uuid,
    /// What was shared.
    pub content: Encrypted,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When its time is over.
    pub expires_at: DateTime<Utc>,
}

// === impl Share ===

impl Share {
    /// Whether it can be opened at `now`. Where there are several reasons why not, it is the one that an attempt would be
    /// noted down with.
    #[must_use]
    pub fn state(&self, now: DateTime<Utc>) -> ShareState {
        if self.revoked_at.is_some() {
            ShareState::Revoked
        } else if self.expires_at <= now {
            ShareState::Expired
        } else if self.access_count >= self.max_access_count {
            ShareState::UsedUp
        } else if self.wrong_passcodes >= MOST_WRONG_PASSCODES {
            ShareState::Locked
        } else {
            ShareState::Active
        }
    }
}

// === impl DeviceType ===

impl DeviceType {
    /// The name that it is stored under.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mobile => "mobile",
            Self::Desktop => "desktop",
            Self::Unknown => "unknown",
        }
    }

    /// The type of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Mobile, Self::Desktop, Self::Unknown]
            .into_iter()
            .find(|device_type| device_type.name() == name)
    }
}

// === impl AccessOutcome ===

impl AccessOutcome {
    const ALL: [Self; 7] = [
        Self::Opened,
        Self::Expired,
        Self::Revoked,
        Self::UsedUp,
        Self::Locked,
        Self::PasscodeMissing,
        Self::PasscodeWrong,
    ];

    /// The name that it is stored under.
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

    /// The outcome of that name.
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
    fn a_share_is_open_until_something_closes_it() {
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
        // In the order in which the database decides.
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
    fn names_are_found_again() {
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
