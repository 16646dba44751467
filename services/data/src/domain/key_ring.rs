//! The key ring: the keys that seal and open texts.
//!
//! The first key seals, and all keys open. A key is replaced by putting a new one before it; the old one stays in the
//! ring for as long as a row is sealed under it.

use std::{collections::BTreeSet, fmt};

use chrono::{DateTime, Utc};
use fernet::Fernet;
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use thiserror::Error;

use super::sealing::{Cell, OpenError, Sealed};

/// The latest time at which fernet's check for clock skew (60 s) does not overflow. Opening at this time passes the
/// check for every token: stored texts must open however the clocks of two replicas differ.
const END_OF_TIME: u64 = u64::MAX - 60;

/// The keys, in the order of the configuration; at least one. `Debug` shows only their ids.
pub struct KeyRing {
    sealing: Key,
    older: Vec<Key>,
}

struct Key {
    id: String,
    fernet: Fernet,
}

impl KeyRing {
    /// Creates a ring of `keys`, which are pairs of an id and a Fernet key (32 bytes in base64url).
    ///
    /// # Errors
    ///
    /// When there is no key, or one is not a Fernet key.
    pub fn new(keys: &[(String, SecretString)]) -> Result<Self, KeyRingError> {
        let mut keys = keys.iter().map(|(id, key)| Key::new(id, key));
        let sealing = keys.next().ok_or(KeyRingError::Empty)??;
        Ok(Self {
            sealing,
            older: keys.collect::<Result<_, _>>()?,
        })
    }

    /// Returns the ids of the keys; the first is that of the sealing key.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys().map(|key| key.id.as_str())
    }

    /// Returns the id of the sealing key.
    pub fn sealing_id(&self) -> &str {
        &self.sealing.id
    }

    /// Checks that the ring has the keys `ids`.
    ///
    /// # Errors
    ///
    /// The ids that are not in the ring.
    pub fn has_all<'a>(&self, ids: impl IntoIterator<Item = &'a str>) -> Result<(), MissingKeys> {
        let missing: BTreeSet<_> = ids
            .into_iter()
            .filter(|id| !self.ids().any(|known| known == *id))
            .map(ToOwned::to_owned)
            .collect();
        match missing.is_empty() {
            true => Ok(()),
            false => Err(MissingKeys(missing)),
        }
    }

    /// Seals `text` for `cell` under the first key. The token contains the time `at`, readable without a key.
    pub fn seal(&self, cell: Cell, text: &str, at: DateTime<Utc>) -> Sealed {
        let seconds = u64::try_from(at.timestamp()).unwrap_or_default();
        Sealed {
            token: self.sealing.fernet.encrypt_at_time(&cell.bind(text), seconds),
            key_id: self.sealing.id.clone(),
        }
    }

    /// Opens a text that was sealed for `cell`, with the key that `sealed` names.
    ///
    /// # Errors
    ///
    /// When the key is not in the ring, the token was changed or sealed under another key, or it was sealed for another
    /// cell.
    pub fn open(&self, cell: Cell, sealed: &Sealed) -> Result<SecretString, OpenError> {
        let key = self
            .keys()
            .find(|key| key.id == sealed.key_id)
            .ok_or_else(|| OpenError::UnknownKey(sealed.key_id.clone()))?;
        cell.unbind(&key.decrypt(&sealed.token)?)
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.sealing).chain(&self.older)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

impl Key {
    fn new(id: &str, key: &SecretString) -> Result<Self, KeyRingError> {
        let fernet = Fernet::new(key.expose_secret()).ok_or_else(|| KeyRingError::NotAKey(id.to_owned()))?;
        Ok(Self {
            id: id.to_owned(),
            fernet,
        })
    }

    /// Decrypts `token`, however old its time is, or however far in the future.
    fn decrypt(&self, token: &str) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let bytes = self.fernet.decrypt_at_time(token, None, END_OF_TIME);
        bytes.map(Zeroizing::new).map_err(|_| OpenError::Broken)
    }
}

/// The reason why a list of keys is not a ring.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KeyRingError {
    /// The list is empty.
    #[error("there is no key")]
    Empty,
    /// The key with this id is not a Fernet key.
    #[error("the key `{0}` is not a Fernet key (32 bytes in base64url)")]
    NotAKey(String),
}

/// Keys that stored texts are sealed under and that the ring lacks. Without them these texts cannot be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "stored texts are sealed under {}, missing from MESSAGE_KEYS: add the missing keys back, after the key that is to \
     seal",
    quoted(.0)
)]
pub struct MissingKeys(BTreeSet<String>);

fn quoted(ids: &BTreeSet<String>) -> String {
    let quoted: Vec<_> = ids.iter().map(|id| format!("`{id}`")).collect();
    quoted.join(" and ")
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
