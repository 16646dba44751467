//! Leases: a worker's exclusive and temporary right to a job.

use std::fmt;

use haven_platform::call::UserId;
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

/// The secret that a lease's holder shows: a UUID, the same for all jobs of one request. `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LeaseToken(Uuid);

/// The proof that a worker holds a job. A job that was leased again has another token or, under the same token, another
/// attempt: the attempts of a job are never reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The person that the covered messages belong to.
    pub person: UserId,
    /// The job's id, unique among its person's jobs.
    pub job: Uuid,
    /// The secret that only the holder knows.
    pub token: LeaseToken,
    /// The number of this attempt, 1 or more.
    pub attempt: i16,
}

// === impl LeaseToken ===

impl LeaseToken {
    /// Returns the token with the value `id`.
    #[must_use]
    pub fn new(id: Uuid) -> Self {
        Self(id)
    }

    /// Derives the token from a keyed hash of the request: the same hash gives the same token, so that a retry gets the
    /// jobs that the first try leased. The token is as unpredictable as the hash.
    #[must_use]
    pub fn from_mac(mac: [u8; 32]) -> Self {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&mac[..16]);
        Self(Builder::from_random_bytes(bytes).into_uuid())
    }

    /// Returns the digest by which the table knows the token: its SHA-256. The token has 122 random bits, so the digest needs no
    /// key.
    #[must_use]
    pub fn digest(self) -> [u8; 32] {
        Sha256::digest(self.0).into()
    }

    /// Returns the token itself, for the response to its holder, and for the trigger that stores its digest.
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
    fn a_token_is_a_uuid_that_is_derived_from_a_hash() {
        let token = LeaseToken::from_mac([0xff; 32]);
        assert_eq!(token.expose().to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(token, LeaseToken::from_mac([0xff; 32]));
        assert_ne!(token, LeaseToken::from_mac([0xfe; 32]));
    }

    #[test]
    fn debug_does_not_show_a_token() {
        let lease = Lease {
            person: UserId::new(Uuid::from_u128(1)),
            job: Uuid::from_u128(2),
            token: LeaseToken::from_mac([0xab; 32]),
            attempt: 1,
        };
        assert!(!format!("{lease:?}").contains("abab"), "{lease:?}");
    }
}
