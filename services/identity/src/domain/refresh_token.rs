//! Refresh tokens: what a session lives on, each used once (RFC 6749, section 6; RFC 9700, section 4.14).
//!
//! A token is a keyed hash under the service's own secret: the first of a session over the session, each further one over
//! the one before it. Without the secret it is 256 bits that nobody can guess or compute; with it, whoever retries gets
//! the same token again, though nothing is stored but another keyed hash of it. Fifty who present one token at once get
//! one successor.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use haven_platform::{call::UserId, mac::MacKey};
use secrecy::{ExposeSecret, SecretBox, SecretString};
use uuid::Uuid;
use zeroize::Zeroizing;

/// How long a refresh token can be used. Each use makes one that can be used for as long again.
pub const REFRESH_TOKEN_LIFETIME: TimeDelta = TimeDelta::days(30);

/// How long after its use a token still gets its successor again: for a client that lost the answer.
pub const GRACE: TimeDelta = TimeDelta::seconds(10);

/// What every token begins with, so that a scanner for secrets knows one that leaked.
const PREFIX: &str = "hrt_";

/// How many characters come after that: 32 bytes in base64url.
const LENGTH: usize = 43;

/// A refresh token. `Debug` does not show it.
pub struct RefreshToken(SecretBox<[u8; 32]>);

/// A text that is no refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no refresh token")]
pub struct Malformed;

/// What is kept of a token, beside its keyed hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptToken {
    /// When it was made.
    pub issued_at: DateTime<Utc>,
    /// When it stops being accepted.
    pub expires_at: DateTime<Utc>,
    /// When it was used.
    pub used_at: Option<DateTime<Utc>>,
}

/// What a token is worth when somebody presents it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worth {
    /// It is used now.
    Use {
        /// When, to be kept. Never before it was made, whatever two clocks say.
        used_at: DateTime<Utc>,
    },
    /// It was used a moment ago: its successor, once more.
    Again,
    /// It was used before that, so two have it: the client, and whoever copied it.
    Copied,
    /// It has expired.
    Expired,
}

// === impl RefreshToken ===

impl RefreshToken {
    /// The first token of a session. It comes out of what is stored anyway, so that a retry of the sign-in answers it again.
    #[must_use]
    pub fn first(key: &MacKey, user_id: UserId, session_id: Uuid) -> Self {
        Self::new(key.mac(&[b"first", user_id.as_uuid().as_bytes(), session_id.as_bytes()]))
    }

    /// The token that follows this one.
    #[must_use]
    pub fn next(&self, key: &MacKey) -> Self {
        Self::new(key.mac(&[b"next", self.0.expose_secret()]))
    }

    /// What is kept of it. Nobody gets from here to the token, nor to the next one.
    #[must_use]
    pub fn hash(&self, key: &MacKey) -> [u8; 32] {
        key.mac(&[b"hash", self.0.expose_secret()])
    }

    /// The token that a client sends.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when it cannot be one of ours.
    pub fn parse(sent: &str) -> Result<Self, Malformed> {
        let text = sent
            .strip_prefix(PREFIX)
            .filter(|text| text.len() == LENGTH)
            .ok_or(Malformed)?;
        let token = Zeroizing::new(URL_SAFE_NO_PAD.decode(text).map_err(|_| Malformed)?);
        Ok(Self::new(token.as_slice().try_into().map_err(|_| Malformed)?))
    }

    /// The token as it is sent: a prefix, and base64url without padding (RFC 4648, section 5).
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

// === impl KeptToken ===

impl KeptToken {
    /// What the token is worth at `now`.
    #[must_use]
    pub fn worth(&self, now: DateTime<Utc>) -> Worth {
        match self.used_at {
            _ if self.expires_at <= now => Worth::Expired,
            None => Worth::Use {
                used_at: now.max(self.issued_at),
            },
            Some(used_at) if now - used_at <= GRACE => Worth::Again,
            Some(_) => Worth::Copied,
        }
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

    fn at(millis: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_800_000_000_000 + millis).unwrap()
    }

    #[test]
    fn a_retry_gets_the_same_token_and_nobody_else_does() {
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
    fn a_family_is_one_line_in_which_no_token_comes_twice() {
        let key = key(1);
        let mut token = RefreshToken::first(&key, person(1), SESSION);
        let mut seen = Vec::new();
        for _ in 0..10 {
            let sent = RefreshToken::parse(&text(&token)).unwrap();
            assert_eq!(sent.hash(&key), token.hash(&key));
            assert_eq!(text(&sent.next(&key)), text(&token.next(&key)));
            assert!(
                !seen.contains(&token.hash(&key)) && !seen.contains(token.0.expose_secret()),
                "neither a token nor a hash comes twice, nor one as the other"
            );
            seen.extend([token.hash(&key), *token.0.expose_secret()]);
            token = token.next(&key);
        }
    }

    #[test]
    fn only_what_we_make_is_a_token() {
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
            // The last character has two bits to spare, and a token is written in one way: they are zero.
            &format!("{but_the_last}9"),
            &"hrt_".repeat(1_000_000),
        ] {
            assert_eq!(RefreshToken::parse(bad).err(), Some(Malformed));
        }
        let token = RefreshToken::parse(&good).unwrap();
        assert_eq!(format!("{token:?}"), "RefreshToken([redacted])");
    }

    #[test]
    fn a_used_token_is_worth_its_successor_for_ten_seconds() {
        let fresh = KeptToken {
            issued_at: at(0),
            expires_at: at(60_000),
            used_at: None,
        };
        assert_eq!(fresh.worth(at(59_999)), Worth::Use { used_at: at(59_999) });
        assert_eq!(fresh.worth(at(-5)), Worth::Use { used_at: at(0) });
        assert_eq!(fresh.worth(at(60_000)), Worth::Expired);
        let used = KeptToken {
            used_at: Some(at(20_000)),
            ..fresh
        };
        assert_eq!(used.worth(at(19_000)), Worth::Again, "by another clock");
        assert_eq!(used.worth(at(30_000)), Worth::Again);
        assert_eq!(used.worth(at(30_001)), Worth::Copied);
        assert_eq!(used.worth(at(60_000)), Worth::Expired);
    }
}
