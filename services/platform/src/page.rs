//! Pages (AIP-158): how much is on one, and tokens that lead to the next, which are opaque, authenticated, and bound to the
//! caller and the request.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{call::UserId, failure::Failure, mac::MacKey, reason::Reason};

const TAG: usize = 32;

/// How many things a page may have: 1 to [`PageSize::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSize(u8);

/// Makes page tokens, and takes back only its own.
///
/// A token is the cursor and a keyed hash over it, its owner and the request that it belongs to. It is not encrypted:
/// a cursor may hold only what its owner was shown.
#[derive(Clone, Debug)]
pub struct PageTokens(MacKey);

// === impl PageSize ===

impl PageSize {
    /// Of a caller who does not say.
    pub const DEFAULT: u8 = 50;
    /// At most; more is taken as this (AIP-158).
    pub const MAX: u8 = 200;

    /// The size that a caller asks for: 0 is the default, and what is too large is cut down. `None` when it is negative.
    #[must_use]
    pub fn parse(asked: i32) -> Option<Self> {
        match asked {
            ..0 => None,
            0 => Some(Self(Self::DEFAULT)),
            _ => Some(Self(
                u8::try_from(asked).map_or(Self::MAX, |size| size.min(Self::MAX)),
            )),
        }
    }

    /// This size, or `most` where that is less: for things so large that fewer of them fit into an answer.
    #[must_use]
    pub fn at_most(self, most: u8) -> Self {
        Self(self.0.min(most))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }
}

// === impl PageTokens ===

impl PageTokens {
    /// Page tokens under `key`.
    #[must_use]
    pub fn new(key: MacKey) -> Self {
        Self(key)
    }

    /// A token that takes `owner` to `cursor`, in a request that is like `request` in all that may not change between
    /// pages.
    #[must_use]
    pub fn seal(&self, owner: UserId, request: &[u8], cursor: &[u8]) -> String {
        let mut token = self
            .0
            .mac(&[owner.as_uuid().as_bytes(), request, cursor])
            .to_vec();
        token.extend_from_slice(cursor);
        URL_SAFE_NO_PAD.encode(token)
    }

    /// The cursor of `N` octets that `token` was sealed with, for the same owner and request; none where there is no token,
    /// as for a first page.
    ///
    /// # Errors
    ///
    /// PAGE_TOKEN_INVALID for every other token.
    pub fn cursor<const N: usize>(
        &self,
        owner: UserId,
        request: &[u8],
        token: &str,
    ) -> Result<Option<[u8; N]>, Failure> {
        if token.is_empty() {
            return Ok(None);
        }
        let cursor = self.open(owner, request, token)?.try_into();
        cursor
            .map(Some)
            .map_err(|_| Failure::new(Reason::PageTokenInvalid))
    }

    fn open(&self, owner: UserId, request: &[u8], token: &str) -> Result<Vec<u8>, Failure> {
        let bytes = URL_SAFE_NO_PAD.decode(token).unwrap_or_default();
        match bytes.split_at_checked(TAG) {
            Some((tag, cursor)) if self.0.verify(&[owner.as_uuid().as_bytes(), request, cursor], tag) => {
                Ok(cursor.to_vec())
            }
            _ => Err(Failure::new(Reason::PageTokenInvalid)),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::mac::SecretKey;

    #[test]
    fn a_page_has_50_things_unless_said_and_never_more_than_200() {
        let size = |asked| PageSize::parse(asked).map(PageSize::get);
        assert_eq!(size(i32::MIN), None);
        assert_eq!(size(-1), None);
        assert_eq!(size(0), Some(50));
        assert_eq!(size(1), Some(1));
        assert_eq!(size(200), Some(200));
        assert_eq!(size(201), Some(200));
        assert_eq!(size(i32::MAX), Some(200));
        let at_most = |asked| PageSize::parse(asked).map(|size| size.at_most(20).get());
        assert_eq!(
            [at_most(0), at_most(19), at_most(21)],
            [Some(20), Some(19), Some(20)]
        );
    }

    #[test]
    fn a_token_is_its_owners_for_its_request() {
        let tokens = PageTokens::new(MacKey::derive(&SecretKey::new(Box::new([1; 32])), "page"));
        let (a, b) = (UserId::new(Uuid::from_u128(1)), UserId::new(Uuid::from_u128(2)));
        let token = tokens.seal(a, b"newest first", b"42");
        assert_eq!(tokens.open(a, b"newest first", &token).unwrap(), b"42");
        assert!(tokens.open(b, b"newest first", &token).is_err());
        assert!(tokens.open(a, b"oldest first", &token).is_err());
        assert_eq!(tokens.cursor(a, b"newest first", &token).unwrap(), Some(*b"42"));
        assert_eq!(tokens.cursor::<2>(a, b"newest first", "").unwrap(), None);
        assert!(tokens.cursor::<3>(a, b"newest first", &token).is_err());
        assert!(tokens.cursor::<1>(a, b"newest first", &token).is_err());
        for forged in ["", "!", "AAAA", &token[1..], &format!("{token}A")] {
            let failure = tokens.open(a, b"newest first", forged).unwrap_err();
            assert_eq!(failure.reason(), Reason::PageTokenInvalid);
        }
    }
}
