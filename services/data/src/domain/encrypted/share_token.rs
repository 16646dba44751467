//! Share tokens: the secret that opens a share.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use haven_platform::mac::{KeyId, MacKeys, SecretKeys, StoredMac, StoredMacs};
use secrecy::{ExposeSecret, SecretBox, SecretString};

/// A share's token: 256 bits that cannot be guessed. `Debug` does not show them.
#[derive(Debug)]
pub struct ShareToken(SecretBox<[u8; 32]>);

/// Computes the keyed hashes of tokens. Only these are stored, and the database alone does not suffice to compute them.
#[derive(Clone, Debug)]
pub struct TokenHashes(MacKeys);

// === impl ShareToken ===

impl ShareToken {
    /// Creates the token with these bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(SecretBox::new(Box::new(bytes)))
    }

    /// Parses a token; `None` when `text` is not exactly what [`ShareToken::write`] returns for some token.
    #[must_use]
    pub fn parse(text: &SecretString) -> Option<Self> {
        let mut bytes = Box::new([0; 32]);
        // Longer text is not decoded.
        let text = Some(text.expose_secret()).filter(|text| text.len() == 43)?;
        let written = URL_SAFE_NO_PAD.decode_slice(text, bytes.as_mut_slice()).ok()?;
        (written == bytes.len()).then(|| Self(SecretBox::new(bytes)))
    }

    /// Returns the token as 43 characters of base64url (RFC 4648, section 5), for the response to the person that made
    /// the share.
    #[must_use]
    pub fn write(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.expose_secret())
    }

    /// Returns the bytes, to be hashed.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

// === impl TokenHashes ===

impl TokenHashes {
    /// Creates hashes under keys that are derived from `secrets`.
    #[must_use]
    pub fn new(secrets: &SecretKeys) -> Self {
        Self(MacKeys::derive(secrets, "data share token hashes"))
    }

    /// Returns the keyed hashes of `token` under each key of the ring: the token may have been made under any.
    #[must_use]
    pub fn of(&self, token: &ShareToken) -> StoredMacs {
        self.0.macs(&[token.expose()])
    }

    /// Returns the keyed hash of `token` under the key with this id.
    #[must_use]
    pub fn under(&self, key: KeyId, token: &ShareToken) -> StoredMac {
        StoredMac::new(self.0.get(key).mac(&[token.expose()]), key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_exactly_one_written_form() {
        let token = ShareToken::new([0xfb; 32]);
        let written = token.write();
        assert_eq!(written.len(), 43);
        let read = |text: &str| ShareToken::parse(&text.into());
        assert_eq!(read(&written).unwrap().expose(), token.expose());
        for other in [
            String::new(),
            format!("{written}="),
            format!("{written}A"),
            written[1..].to_owned(),
            format!(" {}", &written[1..]),
            // The alphabet of standard base64.
            written.replace('-', "+"),
            // Bits beyond the first 256.
            format!("{}t", &written[..42]),
        ] {
            assert!(read(&other).is_none(), "{other}");
        }
    }

    #[test]
    fn debug_does_not_show_a_token() {
        let token = ShareToken::new([251; 32]);
        assert!(!format!("{token:?}").contains("251"));
    }
}
