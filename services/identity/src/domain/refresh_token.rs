//! Refresh tokens: each is used once, for the next one (RFC 6749, section 6; RFC 9700, section 4.14).
//!
//! A token is a keyed hash under a secret of the service: the first token of a session is a hash of the session's id,
//! each further one a hash of the token before it. Without the secret, a token is 256 bits that cannot be guessed or
//! computed. With it, the service answers a retry with the same token, although only another keyed hash of the token is
//! stored: fifty simultaneous refreshes with one token all get the same successor.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use haven_platform::{
    call::UserId,
    mac::{MacKey, StoredMac},
};
use secrecy::{ExposeSecret, SecretBox, SecretString};
use uuid::Uuid;
use zeroize::Zeroizing;

/// The lifetime of a refresh token. Its successor has the same lifetime, from the time of the refresh.
pub const REFRESH_TOKEN_LIFETIME: TimeDelta = TimeDelta::days(30);

/// The time after its use during which a token still gets its successor, for a client that lost the answer.
pub const GRACE: TimeDelta = TimeDelta::seconds(10);

/// The prefix of every token, by which secret scanners recognize a leaked one.
const PREFIX: &str = "hrt_";

/// The number of characters after the prefix: 32 bytes in base64url.
const LENGTH: usize = 43;

/// A refresh token. `Debug` does not show it.
pub struct RefreshToken(SecretBox<[u8; 32]>);

/// The error when a text is not a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a refresh token")]
pub struct Malformed;

/// A token to store.
#[derive(Clone, Copy, Debug)]
pub struct NewRefreshToken {
    /// The id of the stored row.
    pub id: Uuid,
    /// The token's keyed hash, as [`RefreshToken::hash`] computes it, with the id of its key.
    pub hash: StoredMac,
}

/// The key of a stored token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenKey {
    /// The id of the token's person.
    pub user_id: UserId,
    /// The id of the token's session.
    pub session_id: Uuid,
    /// The id of the stored row.
    pub token_id: Uuid,
}

// === impl RefreshToken ===

impl RefreshToken {
    /// The first token of a session. It is derived from the ids of the person and the session, so that the answer to a
    /// retry of SignIn has the same token.
    #[must_use]
    pub fn first(key: &MacKey, user_id: UserId, session_id: Uuid) -> Self {
        Self::new(key.mac(&[b"first", user_id.as_uuid().as_bytes(), session_id.as_bytes()]))
    }

    /// The successor of this token.
    #[must_use]
    pub fn next(&self, key: &MacKey) -> Self {
        Self::new(key.mac(&[b"next", self.0.expose_secret()]))
    }

    /// The keyed hash to store. Neither the token nor its successor can be computed from it.
    #[must_use]
    pub fn hash(&self, key: &MacKey) -> [u8; 32] {
        key.mac(&[b"hash", self.0.expose_secret()])
    }

    /// Parses a token as [`RefreshToken::text`] formats it.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when `sent` has another form.
    pub fn parse(sent: &str) -> Result<Self, Malformed> {
        let text = sent
            .strip_prefix(PREFIX)
            .filter(|text| text.len() == LENGTH)
            .ok_or(Malformed)?;
        let token = Zeroizing::new(URL_SAFE_NO_PAD.decode(text).map_err(|_| Malformed)?);
        Ok(Self::new(token.as_slice().try_into().map_err(|_| Malformed)?))
    }

    /// The token as text for the client: a prefix, then base64url without padding (RFC 4648, section 5).
    #[must_use]
    pub fn text(&self) -> SecretString {
        let token = Zeroizing::new(URL_SAFE_NO_PAD.encode(self.0.expose_secret()));
        format!("{PREFIX}{}", *token).into()
    }

    fn new(bytes: [u8; 32]) -> Self {
        Self(SecretBox::new(Box::new(bytes)))
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshToken([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use haven_platform::mac::SecretKey;

    use super::*;

    const SESSION: Uuid = Uuid::from_u128(2);

    fn key(byte: u8) -> MacKey {
        MacKey::derive(&SecretKey::new(Box::new([byte; 32])), "identity.refresh_tokens")
    }

    fn person(id: u128) -> UserId {
        UserId::new(Uuid::from_u128(id))
    }

    fn text(token: &RefreshToken) -> String {
        token.text().expose_secret().to_owned()
    }

    #[test]
    fn the_first_token_depends_on_key_person_and_session_alone() {
        let first = RefreshToken::first(&key(1), person(1), SESSION);
        assert_eq!(
            text(&first),
            text(&RefreshToken::first(&key(1), person(1), SESSION))
        );
        for other in [
            RefreshToken::first(&key(2), person(1), SESSION),
            RefreshToken::first(&key(1), person(2), SESSION),
            RefreshToken::first(&key(1), person(1), Uuid::from_u128(3)),
        ] {
            assert_ne!(text(&first), text(&other));
        }
    }

    #[test]
    fn the_tokens_of_a_session_are_one_sequence_without_repetition() {
        let key = key(1);
        let mut token = RefreshToken::first(&key, person(1), SESSION);
        let mut seen = Vec::new();
        for _ in 0..10 {
            let sent = RefreshToken::parse(&text(&token)).unwrap();
            assert_eq!(sent.hash(&key), token.hash(&key));
            assert_eq!(text(&sent.next(&key)), text(&token.next(&key)));
            assert!(
                !seen.contains(&token.hash(&key)) && !seen.contains(token.0.expose_secret()),
                "tokens and hashes are all distinct"
            );
            seen.extend([token.hash(&key), *token.0.expose_secret()]);
            token = token.next(&key);
        }
    }

    #[test]
    fn only_well_formed_tokens_are_accepted() {
        let good = text(&RefreshToken::first(&key(1), person(1), SESSION));
        assert!(good.starts_with("hrt_") && good.len() == 47, "{good}");
        let (body, but_the_last) = (&good[4..], &good[..good.len() - 1]);
        for bad in [
            "",
            "hrt_",
            body,
            &format!("HRT_{body}"),
            &format!("{good}="),
            &format!("{good}A"),
            &format!(" {good}"),
            but_the_last,
            // The last character has two unused bits, which must be zero: a token has only one encoding.
            &format!("{but_the_last}9"),
            &"hrt_".repeat(1_000_000),
        ] {
            assert_eq!(RefreshToken::parse(bad).err(), Some(Malformed));
        }
        let token = RefreshToken::parse(&good).unwrap();
        assert_eq!(format!("{token:?}"), "RefreshToken([redacted])");
    }
}
