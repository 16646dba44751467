//! The key ring: the keys that seal and open texts.
//!
//! The first key seals, and all of them open, so a key is replaced by putting a new one in front of it. The old one
//! stays for as long as a row names it.

use std::fmt;

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
    /// The ring of these keys, each behind its id. A key is 32 octets in base64url, as every implementation of Fernet
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
        let key = std::iter::once(&self.sealing)
            .chain(&self.older)
            .find(|key| key.id == sealed.key_id)
            .ok_or_else(|| OpenError::UnknownKey(sealed.key_id.clone()))?;
        let octets = key
            .fernet
            .decrypt_at_time(&sealed.token, None, END_OF_TIME)
            .map(Zeroizing::new)
            .map_err(|_| OpenError::Broken)?;
        cell.unbind(&octets)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let older = self.older.iter().map(|key| &key.id);
        f.debug_list().entry(&self.sealing.id).entries(older).finish()
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
}

/// What is wrong with the keys of a ring.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KeyRingError {
    /// There are none.
    #[error("there is no key")]
    Empty,
    /// The key behind this id is not a Fernet key.
    #[error("what stands behind `{0}` is not a Fernet key (32 octets in base64url)")]
    NotAKey(String),
}

#[cfg(test)]
mod tests {
    use haven_platform::call::UserId;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::domain::sealing::Field;

    const OLD: (&str, &str) = ("old", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    const NEW: (&str, &str) = ("new", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=");

    fn try_ring(keys: &[(&str, &str)]) -> Result<KeyRing, KeyRingError> {
        KeyRing::new(
            &keys
                .iter()
                .map(|(id, key)| ((*id).to_owned(), SecretString::from(*key)))
                .collect::<Vec<_>>(),
        )
    }

    fn ring(keys: &[(&str, &str)]) -> KeyRing {
        try_ring(keys).unwrap()
    }

    fn cell(owner: u128, row: u128) -> Cell {
        Cell {
            owner: UserId::new(Uuid::from_u128(owner)),
            row: Uuid::from_u128(row),
            field: Field::MessageText,
        }
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn a_ring_needs_keys() {
        assert_eq!(try_ring(&[]).unwrap_err(), KeyRingError::Empty);
        assert_eq!(
            try_ring(&[OLD, ("bad", "c2hvcnQ=")]).unwrap_err(),
            KeyRingError::NotAKey("bad".into())
        );
    }

    #[test]
    fn debug_shows_ids_and_no_keys() {
        assert_eq!(format!("{:?}", ring(&[NEW, OLD])), r#"["new", "old"]"#);
    }

    #[test]
    fn the_first_key_seals_and_every_key_opens() {
        let before = ring(&[OLD]).seal(cell(1, 1), "a", at(0));
        assert_eq!(before.key_id, "old");
        let rotated = ring(&[NEW, OLD]);
        assert_eq!(rotated.open(cell(1, 1), &before).unwrap().expose_secret(), "a");
        assert_eq!(rotated.seal(cell(1, 1), "a", at(0)).key_id, "new");
        assert_eq!(
            ring(&[NEW]).open(cell(1, 1), &before).unwrap_err(),
            OpenError::UnknownKey("old".into())
        );
    }

    #[test]
    fn a_token_under_the_wrong_key_id_does_not_open() {
        let rotated = ring(&[NEW, OLD]);
        let sealed = Sealed {
            key_id: "old".into(),
            ..rotated.seal(cell(1, 1), "a", at(0))
        };
        assert_eq!(rotated.open(cell(1, 1), &sealed).unwrap_err(), OpenError::Broken);
    }

    #[test]
    fn a_token_of_the_future_opens() {
        let sealed = ring(&[OLD]).seal(cell(1, 1), "a", at(253_402_300_799));
        assert_eq!(
            ring(&[OLD]).open(cell(1, 1), &sealed).unwrap().expose_secret(),
            "a"
        );
    }

    /// A token made by another implementation (Python's `cryptography` reads and writes the same), so that a change
    /// of the crate or of the layout cannot make what is stored unreadable unnoticed.
    #[test]
    fn what_is_stored_stays_readable() {
        let sealed = Sealed {
            token: STORED.into(),
            key_id: "old".into(),
        };
        assert_eq!(
            ring(&[OLD]).open(cell(1, 2), &sealed).unwrap().expose_secret(),
            "héllo"
        );
    }

    const STORED: &str = "gAAAAABlU_EAm3fSn6JLC_ycDNQefsppLcDQYXBMSpQCt1XlBEXmNb5q9rbvNIX_XDgBPgzgbWZIlWnDH7BN\
        -a1ugzWjdRB9wU8rNnuOS7t04p_4oGyjRjuzdRf5Y2_5zhw7d3_32c636YIbZhAU6rn6N5vm95DK-trGTv4r\
        j7MGcM-RlJI9zk8=";

    proptest! {
        #[test]
        fn what_is_sealed_opens_in_its_place_alone(
            text in "\\PC{0,200}", owner: u128, row: u128, other: u128,
        ) {
            let ring = ring(&[OLD]);
            let sealed = ring.seal(cell(owner, row), &text, at(1));
            let opened = ring.open(cell(owner, row), &sealed).unwrap();
            prop_assert_eq!(opened.expose_secret(), &text);
            prop_assert!(text.len() < 4 || !sealed.token.contains(&text));
            if other != owner {
                prop_assert_eq!(ring.open(cell(other, row), &sealed).unwrap_err(), OpenError::Misplaced);
            }
            if other != row {
                prop_assert_eq!(ring.open(cell(owner, other), &sealed).unwrap_err(), OpenError::Misplaced);
            }
            if owner != row {
                prop_assert_eq!(ring.open(cell(row, owner), &sealed).unwrap_err(), OpenError::Misplaced);
            }
        }

        #[test]
        fn a_changed_token_does_not_open(text in "\\PC{0,50}", position: prop::sample::Index, by in 1_u8..64) {
            const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            let ring = ring(&[OLD]);
            let mut sealed = ring.seal(cell(1, 1), &text, at(1));
            let mut token = sealed.token.trim_end_matches('=').as_bytes().to_vec();
            let position = position.index(token.len());
            let value = ALPHABET.iter().position(|c| *c == token[position]).unwrap();
            token[position] = ALPHABET[(value + usize::from(by)) % 64];
            sealed.token = String::from_utf8(token).unwrap();
            prop_assert_eq!(ring.open(cell(1, 1), &sealed).unwrap_err(), OpenError::Broken);
        }

        #[test]
        fn garbage_does_not_open(token in "\\PC{0,100}") {
            let sealed = Sealed { token, key_id: "old".into() };
            prop_assert_eq!(ring(&[OLD]).open(cell(1, 1), &sealed).unwrap_err(), OpenError::Broken);
        }
    }
}
