//! Leases: what makes a job one worker's for a while, and nobody else's.

use std::fmt;

use haven_platform::call::UserId;
use uuid::{Builder, Uuid};

/// How often a job is tried before it is dead, and how often again each time that it is requeued. The schema knows it too:
/// it is what `retry_limit` is unless said.
pub const ATTEMPTS: i16 = 3;

/// For how many seconds a job rests after an attempt that came to nothing, by how many are left, from one on: half a minute
/// after the first of [`ATTEMPTS`], two minutes after the second. Each is then up to half more or less, so that jobs that
/// failed together do not come back together.
pub const RESTS: [f64; ATTEMPTS as usize - 1] = [120.0, 30.0];

/// What only the holder of a lease knows: a UUID, one for all jobs of one request. `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LeaseToken(Uuid);

/// What a worker shows to be believed that a job is its own. A job that was leased again has another token or, under the
/// same one, another attempt: a job's attempts are never counted from the beginning again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Whose messages the job covers.
    pub person: UserId,
    /// The job's id.
    pub job: Uuid,
    /// What only the holder knows.
    pub token: LeaseToken,
    /// Which attempt this is: from 1 on.
    pub attempt: i16,
}

/// [`RESTS`], each up to half more or less. `jitter` is random.
#[must_use]
pub fn rests(jitter: u32) -> [f64; RESTS.len()] {
    // From a half to one and a half.
    RESTS.map(|rest| rest * (0.5 + f64::from(jitter) / f64::from(u32::MAX)))
}

// === impl LeaseToken ===

impl LeaseToken {
    /// The token that `id` is.
    #[must_use]
    pub fn new(id: Uuid) -> Self {
        Self(id)
    }

    /// The token that a keyed hash stands for: as random as that is, and the same for the same hash, so that whoever asks
    /// again holds what they hold.
    #[must_use]
    pub fn of(mac: [u8; 32]) -> Self {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&mac[..16]);
        Self(Builder::from_random_bytes(bytes).into_uuid())
    }

    /// The token itself, for the table and for the answer to its holder.
    #[must_use]
    pub fn expose(self) -> Uuid {
        self.0
    }
}

impl fmt::Debug for LeaseToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LeaseToken")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_grow_and_are_jittered() {
        assert_eq!(rests(0), [60.0, 15.0]);
        assert_eq!(rests(u32::MAX), [180.0, 45.0]);
    }

    #[test]
    fn a_token_comes_of_a_hash_and_is_a_uuid() {
        let token = LeaseToken::of([0xff; 32]);
        assert_eq!(token.expose().to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(token, LeaseToken::of([0xff; 32]));
        assert_ne!(token, LeaseToken::of([0xfe; 32]));
    }

    #[test]
    fn debug_does_not_show_a_token() {
        let lease = Lease {
            person: UserId::new(Uuid::from_u128(1)),
            job: Uuid::from_u128(2),
            token: LeaseToken::of([0xab; 32]),
            attempt: 1,
        };
        assert!(!format!("{lease:?}").contains("abab"), "{lease:?}");
    }
}
