//! Sealing: encrypts a text so that only this service can read it, and only in the cell that it belongs to.
//!
//! A sealed text is a Fernet token. Fernet authenticates the encrypted bytes but no context, so a token that is moved
//! to another row by an attacker with access to the table would open there. The encrypted bytes therefore start with a
//! header that names the cell:
//!
//! | bytes | content |
//! | --- | --- |
//! | 1 | the version of this layout, 1 |
//! | 16 | the owner's id |
//! | 16 | the row's id |
//! | 1 + n | the length of the field's name, and the name |
//! | the rest | the text |

use haven_platform::call::UserId;
use secrecy::{SecretString, zeroize::Zeroizing};
use thiserror::Error;
use uuid::Uuid;

/// The version of the layout of the encrypted bytes.
const LAYOUT_VERSION: u8 = 1;

/// A column that is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// The text of a message.
    MessageText,
    /// The details of an analysis.
    AnalysisDetails,
}

impl Field {
    /// All sealed fields, in the order of their definition.
    pub const ALL: [Self; 2] = [Self::MessageText, Self::AnalysisDetails];

    /// The field's table and column, at most 255 bytes. The encrypted bytes contain this name, so it must never change.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MessageText => "conversations.message_text",
            Self::AnalysisDetails => "analysis_results.details",
        }
    }

    /// Returns the field `name`; `None` when no field has this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name() == name)
    }
}

/// A field of a person's row: the only place in which a sealed text is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The person that the row belongs to.
    pub owner: UserId,
    /// The id of the row, unique among its person's rows.
    pub row: Uuid,
    /// The field of the row.
    pub field: Field,
}

impl Cell {
    /// Returns the bytes that precede the text in the encrypted bytes.
    fn header(&self) -> Vec<u8> {
        let name = self.field.name();
        let mut header = Vec::with_capacity(1 + 16 + 16 + 1 + name.len());
        header.push(LAYOUT_VERSION);
        header.extend_from_slice(self.owner.as_uuid().as_bytes());
        header.extend_from_slice(self.row.as_bytes());
        header.push(name.len() as u8);
        header.extend_from_slice(name.as_bytes());
        header
    }

    /// Returns the bytes to encrypt for `text` in this cell.
    pub(super) fn bind(&self, text: &str) -> Zeroizing<Vec<u8>> {
        let header = self.header();
        // Allocated at the final size: a buffer that grows leaves copies in memory that are not wiped.
        let mut bytes = Zeroizing::new(Vec::with_capacity(header.len() + text.len()));
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(text.as_bytes());
        bytes
    }

    /// Returns the text in decrypted bytes.
    ///
    /// # Errors
    ///
    /// When the bytes were sealed for another cell, or are not UTF-8.
    pub(super) fn unbind(&self, bytes: &[u8]) -> Result<SecretString, OpenError> {
        let text = bytes
            .strip_prefix(self.header().as_slice())
            .ok_or(OpenError::Misplaced)?;
        let text = std::str::from_utf8(text).map_err(|_| OpenError::Broken)?;
        Ok(SecretString::from(text))
    }
}

/// A text as it is stored: encrypted by the service under one of its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The Fernet token, in base64url.
    pub token: String,
    /// The id of the key that the text is sealed under.
    pub key_id: String,
}

/// The reason why a sealed text does not open. No variant contains any part of the text.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum OpenError {
    /// The key is not in the ring.
    #[error("sealed under the key `{0}`, which is not in MESSAGE_KEYS")]
    UnknownKey(String),
    /// The token was changed, or the key has another value now.
    #[error("the sealed text is damaged, or its key has changed")]
    Broken,
    /// The token is intact, and was sealed for another person, row or field.
    #[error("the sealed text belongs to another person, row or field")]
    Misplaced,
}
