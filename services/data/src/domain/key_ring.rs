//! The key ring: the keys that seal and open texts.
//!
//! The first key seals, and all of them open, so a key is replaced by putting a new one in front of it. The old one
//! stays for as long as a row names it.

use std::{collections::BTreeSet, fmt};

use chrono::{DateTime, Utc};
use fernet::Fernet;
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use thiserror::Error;

use super::sealing::{Cell, OpenError, Sealed};

/// The latest time that does not make fernet's check for clocks that run ahead (60 s) overflow. Opening at this time
/// passes that check for every token: what is kept must open whatever the clocks of two replicas say.
const END_OF_TIME: u64 = u64::MAX - 60;

/// The keys, in the order of the configuration. There is at least one. `Debug` shows their ids alone.
pub struct KeyRing {
    sealing: Key,
    older: Vec<Key>,
}

struct Key {
    id: String,
    fernet: Fernet,
}

impl KeyRing {
    /// The ring of these keys, each behind its id. A key is 32 bytes in base64url, as every implementation of Fernet
    /// makes them.
    ///
    /// # Errors
    ///
    /// When there is none, or one is no such key.
    pub fn new(keys: &[(String, SecretString)]) -> Result<Self, KeyRingError> {
        let mut keys = keys.iter().map(|(id, key)| Key::new(id, key));
        let sealing = keys.next().ok_or(KeyRingError::Empty)??;
        Ok(Self {
            sealing,
            older: keys.collect::<Result<_, _>>()?,
        })
    }

    /// The ids of the keys, that of the one that seals first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys().map(|key| key.id.as_str())
    }

    /// The id of the key that seals.
    pub fn sealing_id(&self) -> &str {
        &self.sealing.id
    }

    /// Whether what is sealed under keys with these ids can be opened.
    ///
    /// # Errors
    ///
    /// Those that are not in the ring.
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

    /// Seals `text` for `cell`, under the first key. The time `at` stands in the token, readable by everybody.
    pub fn seal(&self, cell: Cell, text: &str, at: DateTime<Utc>) -> Sealed {
        let seconds = u64::try_from(at.timestamp()).unwrap_or_default();
        Sealed {
            token: self.sealing.fernet.encrypt_at_time(&cell.bind(text), seconds),
            key_id: self.sealing.id.clone(),
        }
    }

    /// Opens what was sealed for `cell`, under the key that it names.
    ///
    /// # Errors
    ///
    /// When that key is not in the ring, or did not seal this, or sealed it for another place.
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

    /// The bytes that were encrypted. How old the token is, and whether it is of the future, does not matter.
    fn decrypt(&self, token: &str) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let bytes = self.fernet.decrypt_at_time(token, None, END_OF_TIME);
        bytes.map(Zeroizing::new).map_err(|_| OpenError::Broken)
    }
}

/// What is wrong with the keys of a ring.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KeyRingError {
    /// There are none.
    #[error("there is no key")]
    Empty,
    /// The key behind this id is not a Fernet key.
    #[error("what stands behind `{0}` is not a Fernet key (32 bytes in base64url)")]
    NotAKey(String),
}

/// Keys that something is sealed under and that the ring does not have: without them it can never be read again.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "something is sealed under {}, which MESSAGE_KEYS does not have: put back what is missing, behind the key that is \
     to seal",
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
