//! A person as the service knows them: provisioned, locked or erased.

use chrono::{DateTime, Utc};
use haven_platform::call::UserId;

/// A person that the service knows, without any content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownUser {
    /// The person's id.
    pub id: UserId,
    /// The person's state.
    pub state: UserState,
}

/// The state of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserState {
    /// The person is provisioned.
    Active {
        /// The time at which the person was provisioned.
        created_at: DateTime<Utc>,
    },
    /// The person is provisioned, and no call reaches their rows.
    Locked {
        /// The time at which the person was provisioned.
        created_at: DateTime<Utc>,
        /// The time at which the person was locked.
        locked_at: DateTime<Utc>,
    },
    /// Only the person's tombstone remains.
    Erased {
        /// The time of the erasure.
        erased_at: DateTime<Utc>,
    },
}
