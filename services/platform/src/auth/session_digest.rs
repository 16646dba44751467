//! The digest that names an ended session.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::call::UserId;

/// The SHA-256 of a user's id and a session's id. A session's id is unique among the sessions of its user only, and the list
/// of ended sessions outlives its users, so the list names the session without telling the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionDigest([u8; Self::BYTES]);

impl SessionDigest {
    /// The size of a digest in bytes.
    pub const BYTES: usize = 32;

    /// Returns the digest of `session` of `user`: that of the 16 bytes of each id, the user's first.
    #[must_use]
    pub fn of(user: UserId, session: Uuid) -> Self {
        let digest = Sha256::new().chain_update(user.as_uuid()).chain_update(session);
        Self(digest.finalize().into())
    }

    /// Returns the digest of a session that ended before its user was known with it. It is that of the session's id
    /// alone, so it ends the session of every user with this id.
    #[must_use]
    pub fn without_user(session: Uuid) -> Self {
        Self(Sha256::digest(session).into())
    }

    /// Returns the bytes of the digest.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        self.0
    }
}

impl From<[u8; Self::BYTES]> for SessionDigest {
    fn from(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }
}

impl TryFrom<&[u8]> for SessionDigest {
    type Error = std::array::TryFromSliceError;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        bytes.try_into().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_the_sha_256_of_both_ids() {
        let (user, session) = (
            UserId::new(Uuid::from_u128(0x018f_0000_0000_7000_8000_0000_0000_00aa)),
            Uuid::from_u128(0x018f_0000_0000_7000_8000_0000_0000_00bb),
        );
        // printf '018f00000000700080000000000000aa018f00000000700080000000000000bb' | xxd -r -p | sha256sum
        let hex = |digest: SessionDigest| {
            let bytes = digest.to_bytes();
            bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        assert_eq!(
            hex(SessionDigest::of(user, session)),
            "8a40d1c70b6a70d579b12670082bc4a5d230c347e3f953c22e8af5f10a60ffa0"
        );
        assert_eq!(
            hex(SessionDigest::without_user(session)),
            "ad509ce84987839ebc5479302b71e1a340a78295bbe5d5d29c26b07ab7896501"
        );
    }
}
