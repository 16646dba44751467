//! What the data service must be told, and when to try again.

use std::time::Duration;

use haven_platform::{call::UserId, reason::Reason};
use uuid::Uuid;

/// How long one attempt may take.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a message belongs to whoever took it: until then nobody else takes it. Longer than an attempt, so that two
/// do not send at once; short, because it is how long a message waits when its sender dies.
pub const LEASE: Duration = Duration::from_secs(5);

/// How long each further attempt to erase somebody may take, whom the first one found no time for. Data erases in parts
/// whoever has much, and each attempt goes on where the one before it stopped: what this one saves them is attempts.
const ERASE_TIMEOUT: Duration = Duration::from_secs(15);

/// The lease of each further attempt to erase somebody.
pub const ERASE_LEASE: Duration = Duration::from_secs(18);

const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(5 * 60);
/// While data does not answer at all, no message is to blame: each is tried often enough to be delivered within seconds
/// of its return. What this costs is bounded by the dispatcher, which sends one batch a tick while that lasts.
const LONGEST_DELAY_WHILE_DOWN: Duration = Duration::from_secs(5);

/// Something that data must be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// The message's id, and the request id of every attempt to deliver it.
    pub id: Uuid,
    /// Of whom.
    pub user_id: UserId,
    /// What.
    pub kind: MessageKind,
    /// How often delivery was begun, this time included.
    pub attempts: i32,
}

/// What there is to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// To make a person known.
    ProvisionUser,
    /// To erase a person. There is none to provision the same person beside it: erasing an account drops that.
    EraseUser,
}

// === impl Message ===

impl Message {
    /// To make a person known: a message that its sender begins to deliver at once.
    #[must_use]
    pub fn provision_user(id: Uuid, user_id: UserId) -> Self {
        Self {
            id,
            user_id,
            kind: MessageKind::ProvisionUser,
            attempts: 1,
        }
    }

    /// To erase a person: a message that its sender begins to deliver at once.
    #[must_use]
    pub fn erase_user(id: Uuid, user_id: UserId) -> Self {
        Self {
            kind: MessageKind::EraseUser,
            ..Self::provision_user(id, user_id)
        }
    }

    /// How long this attempt may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        match self.kind {
            MessageKind::EraseUser if self.attempts > 1 => ERASE_TIMEOUT,
            MessageKind::ProvisionUser | MessageKind::EraseUser => ATTEMPT_TIMEOUT,
        }
    }
}

// === impl MessageKind ===

impl MessageKind {
    /// What is stored under that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "provision_user" => Some(Self::ProvisionUser),
            "erase_user" => Some(Self::EraseUser),
            _ => None,
        }
    }
}

/// How long to wait after attempt number `attempts` failed for `reason`: doubling, and between half and all of it, by
/// `jitter` (0 to 255), so that what failed together does not come back together.
#[must_use]
pub fn retry_delay(attempts: i32, reason: Reason, jitter: u8) -> Duration {
    let longest = if means_down(reason) {
        LONGEST_DELAY_WHILE_DOWN
    } else {
        LONGEST_DELAY
    };
    let doublings = u32::try_from(attempts.saturating_sub(1))
        .unwrap_or_default()
        .min(16);
    let delay = FIRST_DELAY.saturating_mul(1 << doublings).min(longest);
    delay / 2 + (delay / 2).mul_f64(f64::from(jitter) / 255.0)
}

/// Whether `reason` is about the service that does not answer, rather than about one message.
#[must_use]
pub fn means_down(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::DependencyUnavailable | Reason::Draining | Reason::Overloaded | Reason::Deadline
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn delays_double_up_to_a_cap() {
        let after = |attempts, reason| retry_delay(attempts, reason, 255).as_secs();
        assert_eq!([1, 2, 3, 4].map(|n| after(n, Reason::Internal)), [1, 2, 4, 8]);
        assert_eq!(after(i32::MAX, Reason::Internal), 300);
        assert_eq!(
            [1, 3, 4, 900].map(|n| after(n, Reason::DependencyUnavailable)),
            [1, 4, 5, 5]
        );
    }

    #[test]
    fn nobody_else_takes_a_message_while_an_attempt_lasts() {
        let (id, user_id) = (Uuid::from_u128(1), UserId::new(Uuid::from_u128(2)));
        let first = Message::erase_user(id, user_id);
        let later = Message { attempts: 2, ..first };
        let provision = Message {
            attempts: 9,
            ..Message::provision_user(id, user_id)
        };
        assert_eq!(
            [first, provision].map(|message| message.timeout()),
            [ATTEMPT_TIMEOUT; 2]
        );
        assert!(ATTEMPT_TIMEOUT < LEASE);
        assert_eq!(later.timeout(), ERASE_TIMEOUT);
        assert!(ERASE_TIMEOUT < ERASE_LEASE);
    }

    proptest! {
        #[test]
        fn a_delay_is_between_half_a_second_and_five_minutes(attempts: i32, jitter: u8) {
            let delay = retry_delay(attempts, Reason::Internal, jitter);
            prop_assert!((Duration::from_millis(500)..=LONGEST_DELAY).contains(&delay));
        }
    }
}
