//! Device tokens: a device that signed in before names itself by one, and its wrong passwords are counted apart from those of
//! others.
//!
//! A token is a keyed hash of the session, or of the password reset, that it was first issued with, so that a retry of SignIn is answered with the same
//! token although only another keyed hash of the token is stored. Without the key it is 256 bits that cannot be guessed.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use haven_platform::{
    call::UserId,
    mac::{MacKey, StoredMac},
};
use secrecy::{ExposeSecret, SecretBox, SecretString};
use uuid::Uuid;
use zeroize::Zeroizing;

/// The lifetime of a device token, from the last sign-in that brought it.
pub const DEVICE_TOKEN_LIFETIME: TimeDelta = TimeDelta::days(90);

/// The prefix of every token, by which secret scanners recognize a leaked one.
const PREFIX: &str = "hdt_";

/// The number of characters after the prefix: 32 bytes in base64url.
const LENGTH: usize = 43;

/// A device token. `Debug` does not show it.
pub struct DeviceToken(SecretBox<[u8; 32]>);

/// A token to store or to renew.
#[derive(Clone, Debug)]
pub struct KeptDevice {
    /// The id of the row, if it is a new one.
    pub id: Uuid,
    /// The stored hash of the token that the sign-in brought. `None` when the token is new.
    pub found: Option<Vec<u8>>,
    /// The token's hash under the first key of the ring.
    pub hash: StoredMac,
    /// The time until which the token is accepted.
    pub expires_at: DateTime<Utc>,
    /// The maximum number of tokens of an account.
    pub maximum: i32,
}

// === impl DeviceToken ===

impl DeviceToken {
    /// The token that is issued with the session.
    #[must_use]
    pub fn first(key: &MacKey, user_id: UserId, session_id: Uuid) -> Self {
        Self::new(key.mac(&[b"first", user_id.as_uuid().as_bytes(), session_id.as_bytes()]))
    }

    /// The token that is issued to the person who set a new password with the recovery token that is stored as `token_id`.
    #[must_use]
    pub fn of_reset(key: &MacKey, user_id: UserId, token_id: Uuid) -> Self {
        Self::new(key.mac(&[b"reset", user_id.as_uuid().as_bytes(), token_id.as_bytes()]))
    }

    /// The keyed hash to store.
    #[must_use]
    pub fn hash(&self, key: &MacKey) -> [u8; 32] {
        key.mac(&[b"hash", self.expose()])
    }

    /// Parses a token as [`DeviceToken::text`] formats it. `None` when `sent` has another form, which is the same as no
    /// token.
    #[must_use]
    pub fn parse(sent: &str) -> Option<Self> {
        let text = sent.strip_prefix(PREFIX).filter(|text| text.len() == LENGTH)?;
        let token = Zeroizing::new(URL_SAFE_NO_PAD.decode(text).ok()?);
        Some(Self::new(token.as_slice().try_into().ok()?))
    }

    /// The token as text for the client: a prefix, then base64url without padding (RFC 4648, section 5).
    #[must_use]
    pub fn text(&self) -> SecretString {
        let token = Zeroizing::new(URL_SAFE_NO_PAD.encode(self.expose()));
        format!("{PREFIX}{}", *token).into()
    }

    /// The bytes of the token.
    pub(crate) fn expose(&self) -> &[u8; 32] {
        self.0.expose_secret()
    }

    fn new(bytes: [u8; 32]) -> Self {
        Self(SecretBox::new(Box::new(bytes)))
    }
}

impl fmt::Debug for DeviceToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceToken([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use haven_platform::mac::SecretKey;

    use super::*;

    #[test]
    fn a_token_depends_on_its_session_and_has_one_form() {
        let key = MacKey::derive(&SecretKey::new(Box::new([7; 32])), "identity.device_tokens");
        let person = UserId::new(Uuid::from_u128(1));
        let text = |session| {
            let token = DeviceToken::first(&key, person, Uuid::from_u128(session));
            token.text().expose_secret().to_owned()
        };
        let good = text(2);
        assert!(good.starts_with("hdt_") && good.len() == 47, "{good}");
        assert_eq!(good, text(2));
        assert_ne!(good, text(3));
        let token = DeviceToken::parse(&good).unwrap();
        assert_eq!(token.text().expose_secret(), good);
        assert_ne!(&token.hash(&key), token.expose());
        assert_eq!(format!("{token:?}"), "DeviceToken([redacted])");
        for bad in [
            "",
            "hdt_",
            &good[4..],
            &format!("{good}A"),
            &format!("hrt_{}", &good[4..]),
        ] {
            assert!(DeviceToken::parse(bad).is_none(), "{bad}");
        }
    }
}
