//! Messages to the data service, and the times of their retries.

use std::time::Duration;

use haven_platform::{call::UserId, reason::Reason};
use uuid::Uuid;

/// The timeout of a delivery attempt.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);

/// The duration of a message's lease, during which no other replica takes the message. Longer than an attempt, so that
/// two replicas do not send one message at the same time; short, because a message also waits this long when its sender
/// crashes.
pub const LEASE: Duration = Duration::from_secs(5);

/// The timeout of the second and each further attempt to erase a person. Data erases a person with much data in parts,
/// and each attempt continues where the one before it stopped: a longer timeout needs fewer attempts.
const ERASE_TIMEOUT: Duration = Duration::from_secs(15);

/// The lease of the second and each further attempt to erase a person.
pub const ERASE_LEASE: Duration = Duration::from_secs(18);

/// The delay after the first failed attempt. It doubles with each further one.
const FIRST_DELAY: Duration = Duration::from_secs(1);
/// The maximum delay between two attempts.
const MAX_DELAY: Duration = Duration::from_secs(5 * 60);
/// The maximum delay while data does not answer at all, which is not the fault of a message: each is retried often
/// enough to be delivered within seconds of data's return. The dispatcher bounds the cost, as it then sends one batch
/// per tick.
const MAX_DELAY_WHILE_DOWN: Duration = Duration::from_secs(5);

/// A message to data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// The message's id, and the request id of every attempt to deliver it.
    pub id: Uuid,
    /// The id of the person whom the message concerns.
    pub user_id: UserId,
    /// The kind of message.
    pub kind: MessageKind,
    /// The number of delivery attempts, the current one included.
    pub attempts: i32,
}

/// The kind of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// Creates the person in data.
    ProvisionUser,
    /// Erases the person in data. There is no [`MessageKind::ProvisionUser`] for the same person at the same time:
    /// erasing an account deletes that message.
    EraseUser,
}

// === impl Message ===

impl Message {
    /// A message that creates a person in data. Its sender starts the first attempt immediately.
    #[must_use]
    pub fn provision_user(id: Uuid, user_id: UserId) -> Self {
        Self {
            id,
            user_id,
            kind: MessageKind::ProvisionUser,
            attempts: 1,
        }
    }

    /// A message that erases a person in data. Its sender starts the first attempt immediately.
    #[must_use]
    pub fn erase_user(id: Uuid, user_id: UserId) -> Self {
        Self {
            kind: MessageKind::EraseUser,
            ..Self::provision_user(id, user_id)
        }
    }

    /// The timeout of the current attempt.
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
    /// The kind that is stored under `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "provision_user" => Some(Self::ProvisionUser),
            "erase_user" => Some(Self::EraseUser),
            _ => None,
        }
    }
}

/// The delay after attempt number `attempts` failed for `reason`. The delay doubles with each attempt; `jitter` (0 to
/// 255) selects a value between half of it and all of it, so that messages that failed together are not retried
/// together.
#[must_use]
pub fn retry_delay(attempts: i32, reason: Reason, jitter: u8) -> Duration {
    let max_delay = if means_down(reason) {
        MAX_DELAY_WHILE_DOWN
    } else {
        MAX_DELAY
    };
    let doublings = u32::try_from(attempts.saturating_sub(1))
        .unwrap_or_default()
        .min(16);
    let delay = FIRST_DELAY.saturating_mul(1 << doublings).min(max_delay);
    delay / 2 + (delay / 2).mul_f64(f64::from(jitter) / 255.0)
}

/// Returns whether `reason` means that data does not answer, rather than that it refused one message.
#[must_use]
pub fn means_down(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::DependencyUnavailable
            | Reason::Draining
            | Reason::Overloaded
            | Reason::TooManyCalls
            | Reason::Deadline
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn delays_double_up_to_a_maximum() {
        let after = |attempts, reason| retry_delay(attempts, reason, 255).as_secs();
        assert_eq!([1, 2, 3, 4].map(|n| after(n, Reason::Internal)), [1, 2, 4, 8]);
        assert_eq!(after(i32::MAX, Reason::Internal), 300);
        assert_eq!(
            [1, 3, 4, 900].map(|n| after(n, Reason::DependencyUnavailable)),
            [1, 4, 5, 5]
        );
    }

    #[test]
    fn a_lease_is_longer_than_an_attempt() {
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
            prop_assert!((Duration::from_millis(500)..=MAX_DELAY).contains(&delay));
        }
    }
}
