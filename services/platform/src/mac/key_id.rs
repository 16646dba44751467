//! The ids of secrets.

use std::{fmt, str};

/// The id of a secret: 1 to [`KeyId::MAX_BYTES`] ASCII letters, digits, `-` or `_`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId {
    /// The id, padded with zeros.
    bytes: [u8; Self::MAX_BYTES],
}

/// The error of a text that is not an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id has 1 to 8 letters, digits, - or _")]
pub struct KeyIdError;

impl KeyId {
    /// The maximum length of an id, in bytes.
    pub const MAX_BYTES: usize = 8;

    /// The id of a secret that was configured without one, and of hashes that were stored before they named their key.
    pub const FIRST: Self = Self {
        bytes: *b"k1\0\0\0\0\0\0",
    };

    /// Parses an id.
    ///
    /// # Errors
    ///
    /// [`KeyIdError`] when `id` has another form.
    pub fn parse(id: &str) -> Result<Self, KeyIdError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let mut bytes = [0; Self::MAX_BYTES];
        let written = bytes.get_mut(..id.len()).ok_or(KeyIdError)?;
        if id.is_empty() || !id.bytes().all(plain) {
            return Err(KeyIdError);
        }
        written.copy_from_slice(id.as_bytes());
        Ok(Self { bytes })
    }

    /// Returns the id of the key of a stored hash: see [`StoredMac`](super::StoredMac). [`KeyId::FIRST`] when the hash names
    /// none.
    #[must_use]
    pub fn of_stored(hash: &[u8]) -> Self {
        let id = hash.get(super::MAC_BYTES..).unwrap_or_default();
        let id = str::from_utf8(id).unwrap_or_default();
        Self::parse(id).unwrap_or(Self::FIRST)
    }

    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let end = self.bytes.iter().position(|byte| *byte == 0);
        let id = &self.bytes[..end.unwrap_or(Self::MAX_BYTES)];
        // Always ASCII: `parse` checked it.
        str::from_utf8(id).unwrap_or_default()
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_hash_names_its_key() {
        let named = [[7; 32].as_slice(), b"k2"].concat();
        assert_eq!(KeyId::of_stored(&named).as_str(), "k2");
        assert_eq!(KeyId::of_stored(&[7; 32]), KeyId::FIRST);
    }

    #[test]
    fn an_id_has_1_to_8_plain_characters() {
        assert_eq!(KeyId::parse("k1").unwrap(), KeyId::FIRST);
        for id in ["k1", "a", "2026-11_", "ABCDEFGH"] {
            assert_eq!(KeyId::parse(id).unwrap().as_str(), id);
        }
        for wrong in ["", "123456789", "k 1", "k:1", "é", "k\0"] {
            assert_eq!(KeyId::parse(wrong), Err(KeyIdError), "{wrong:?}");
        }
    }
}
