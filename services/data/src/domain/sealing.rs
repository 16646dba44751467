//! Sealing: how a text is kept so that only this service can read it, and only as the text of what it belongs to.
//!
//! A sealed text is a Fernet token. Fernet authenticates what it encrypts, and nothing around it, so a token that
//! somebody with access to the table moves to another row would open there. What is encrypted is therefore not the
//! text alone, but this:
//!
//! | bytes | what |
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

const LAYOUT_VERSION: u8 = 1;

/// A field that is kept sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// What was said in a message.
    MessageText,
    /// What an analysis says.
    AnalysisDetails,
}

impl Field {
    /// Every field that is kept sealed.
    pub const ALL: [Self; 2] = [Self::MessageText, Self::AnalysisDetails];

    /// Its table and column, which is its name inside the sealed bytes too, at most 255 bytes. It must never change:
    /// what is sealed already holds it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MessageText => "conversations.message_text",
            Self::AnalysisDetails => "analysis_results.details",
        }
    }

    /// The one with this name, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name() == name)
    }
}

/// The one place in which a sealed text is valid: a field of a row of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Whose row it is.
    pub owner: UserId,
    /// The row's id.
    pub row: Uuid,
    /// The field of the row.
    pub field: Field,
}

impl Cell {
    /// What stands before the text inside the sealed bytes.
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

    /// The bytes to encrypt for `text` here.
    pub(super) fn bind(&self, text: &str) -> Zeroizing<Vec<u8>> {
        let header = self.header();
        // Of the final size at once: growing would leave copies behind that nobody wipes.
        let mut bytes = Zeroizing::new(Vec::with_capacity(header.len() + text.len()));
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(text.as_bytes());
        bytes
    }

    /// The text in decrypted bytes.
    ///
    /// # Errors
    ///
    /// When they were sealed for another place.
    pub(super) fn unbind(&self, bytes: &[u8]) -> Result<SecretString, OpenError> {
        let text = bytes
            .strip_prefix(self.header().as_slice())
            .ok_or(OpenError::Misplaced)?;
        let text = std::str::from_utf8(text).map_err(|_| OpenError::Broken)?;
        Ok(SecretString::from(text))
    }
}

/// A text that is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The Fernet token.
    pub token: String,
    /// The id of the key that it was sealed under.
    pub key_id: String,
}

/// Why a sealed text does not open. No variant holds anything of what is sealed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum OpenError {
    /// The key that it names is not in the ring.
    #[error("sealed under the key `{0}`, which is not among MESSAGE_KEYS")]
    UnknownKey(String),
    /// It is not what was sealed, or the key has another value now.
    #[error("the sealed text is damaged, or its key has changed")]
    Broken,
    /// It is whole, and was sealed for another person, row or field.
    #[error("the sealed text belongs to another place")]
    Misplaced,
}
