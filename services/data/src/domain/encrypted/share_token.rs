//! What opens a share: its token.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use haven_platform::mac::{MacKey, SecretKey};
use secrecy::{ExposeSecret, SecretBox, SecretString};

/// What opens a share: 256 bits that nobody can guess. `Debug` does not show them.
#[derive(Debug)]
pub struct ShareToken(SecretBox<[u8; 32]>);

/// Makes what is kept of tokens: keyed hashes of them, which nobody makes who has the database alone.
#[derive(Clone, Debug)]
pub struct TokenHashes(MacKey);

// === impl ShareToken ===

impl ShareToken {
    /// The token of these bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(SecretBox::new(Box::new(bytes)))
    }

    /// The token that is written as `text`; none when it is not as one is written.
    #[must_use]
    pub fn parse(text: &SecretString) -> Option<Self> {
        let mut bytes = Box::new([0; 32]);
        // So that no longer text is decoded.
        let text = Some(text.expose_secret()).filter(|text| text.len() == 43)?;
        let written = URL_SAFE_NO_PAD.decode_slice(text, bytes.as_mut_slice()).ok()?;
        (written == bytes.len()).then(|| Self(SecretBox::new(bytes)))
    }

    /// As it is written: 43 characters of base64url (RFC 4648, section 5), for the answer to the person whose it is.
    #[must_use]
    pub fn write(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.expose_secret())
    }

    /// The bytes, for the keyed hash of them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

// === impl TokenHashes ===

impl TokenHashes {
    /// Under a key that comes of `secret`.
    #[must_use]
    pub fn new(secret: &SecretKey) -> Self {
        Self(MacKey::derive(secret, "data share token hashes"))
    }

    /// What is kept of `token`.
    #[must_use]
    pub fn of(&self, token: &ShareToken) -> [u8; 32] {
        self.0.mac(&[token.expose()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written_and_in_no_other_way() {
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
            // The letters of plain base64.
            written.replace('-', "+"),
            // Bits beyond the 256.
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
