//! The ring of secrets, and the ring of keys for one purpose that is derived from it.

use std::{fmt, sync::Arc};

use secrecy::ExposeSecret;

use super::{KeyId, MAC_BYTES, MacKey, SecretKey, StoredMac, StoredMacs};

/// The service's secrets for keyed hashes, 1 to [`StoredMacs::MAX`]: the first makes new hashes, all are accepted.
/// `Debug` shows the ids.
pub struct SecretKeys(Vec<(KeyId, SecretKey)>);

/// The keys for one purpose, one for each secret of the ring, in the same order. Clones share them.
#[derive(Clone)]
pub struct MacKeys(Arc<[(KeyId, MacKey)]>);

/// The error of a list that is not a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretKeysError {
    /// The list is empty.
    #[error("must have a key")]
    Empty,
    /// There are too many secrets.
    #[error("must have at most 4 keys: every request is hashed under each")]
    TooMany,
    /// Two ids have the same secret.
    #[error("must have different keys: two ids have the same one")]
    Duplicate,
}

// === impl SecretKeys ===

impl SecretKeys {
    /// Creates a ring. The ids are distinct; the first secret makes new hashes.
    ///
    /// # Errors
    ///
    /// [`SecretKeysError`] when there is no secret, when there are too many, or when two are equal: each would make the same
    /// hashes.
    pub fn new(keys: Vec<(KeyId, SecretKey)>) -> Result<Self, SecretKeysError> {
        let is_repeated = |(at, (_, secret)): (usize, &(KeyId, SecretKey))| {
            let mut before = keys[..at].iter();
            before.any(|(_, other)| other.expose_secret() == secret.expose_secret())
        };
        match keys.len() {
            0 => Err(SecretKeysError::Empty),
            1..=StoredMacs::MAX if keys.iter().enumerate().any(is_repeated) => {
                Err(SecretKeysError::Duplicate)
            }
            1..=StoredMacs::MAX => Ok(Self(keys)),
            _ => Err(SecretKeysError::TooMany),
        }
    }

    /// Creates a ring of one secret, with the id [`KeyId::FIRST`].
    #[must_use]
    pub fn one(secret: [u8; 32]) -> Self {
        Self(vec![(KeyId::FIRST, SecretKey::new(Box::new(secret)))])
    }

    /// Returns the ids in the order of the ring.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> {
        self.0.iter().map(|(id, _)| *id)
    }
}

impl fmt::Debug for SecretKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

// === impl MacKeys ===

impl MacKeys {
    /// Derives the keys for `purpose` from the service's secrets.
    #[must_use]
    pub fn derive(secrets: &SecretKeys, purpose: &'static str) -> Self {
        let keys = secrets.0.iter();
        Self(
            keys.map(|(id, secret)| (*id, MacKey::derive(secret, purpose)))
                .collect(),
        )
    }

    /// Returns the ids of the keys in the order of the ring.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = KeyId> + '_ {
        self.0.iter().map(|(id, _)| *id)
    }

    /// Returns the id of the key that makes new hashes.
    #[must_use]
    pub fn first_id(&self) -> KeyId {
        self.0[0].0
    }

    /// Returns the keys in the order of the ring. The first one makes new hashes.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (KeyId, &MacKey)> {
        self.0.iter().map(|(id, key)| (*id, key))
    }

    /// Returns the key with the id, and the first key when the ring has none with it.
    #[must_use]
    pub fn get(&self, id: KeyId) -> &MacKey {
        let key = self.0.iter().find(|(of, _)| *of == id);
        &key.unwrap_or(&self.0[0]).1
    }

    /// Returns the keyed hash of `parts` under the first key, for what is not stored.
    #[must_use]
    pub fn mac(&self, parts: &[&[u8]]) -> [u8; MAC_BYTES] {
        self.0[0].1.mac(parts)
    }

    /// Returns the keyed hash of `parts` under the first key, to be stored.
    #[must_use]
    pub fn stored(&self, parts: &[&[u8]]) -> StoredMac {
        StoredMac::new(self.mac(parts), self.first_id())
    }

    /// Returns the keyed hashes of `parts` under each key, to find or to recognize what is stored.
    #[must_use]
    pub fn macs(&self, parts: &[&[u8]]) -> StoredMacs {
        let others = self.iter().skip(1);
        StoredMacs::new(
            self.stored(parts),
            others.map(|(id, key)| StoredMac::new(key.mac(parts), id)),
        )
    }

    /// Returns whether `tag` is the keyed hash of `parts` under one of the keys.
    #[must_use]
    pub fn verify(&self, parts: &[&[u8]], tag: &[u8]) -> bool {
        self.0.iter().any(|(_, key)| key.verify(parts, tag))
    }
}

impl fmt::Debug for MacKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(keys: &[(&str, u8)]) -> SecretKeys {
        let keys = keys.iter().map(|(id, byte)| {
            let secret = SecretKey::new(Box::new([*byte; 32]));
            (KeyId::parse(id).unwrap(), secret)
        });
        SecretKeys::new(keys.collect()).unwrap()
    }

    #[test]
    fn a_ring_has_one_to_four_keys() {
        assert_eq!(SecretKeys::new(Vec::new()).err(), Some(SecretKeysError::Empty));
        let five = ["a", "b", "c", "d", "e"].map(|id| {
            let secret = SecretKey::new(Box::new([1; 32]));
            (KeyId::parse(id).unwrap(), secret)
        });
        assert_eq!(
            SecretKeys::new(five.into_iter().collect()).err(),
            Some(SecretKeysError::TooMany)
        );
        let twice = ["a", "b"].map(|id| {
            let secret = SecretKey::new(Box::new([1; 32]));
            (KeyId::parse(id).unwrap(), secret)
        });
        assert_eq!(
            SecretKeys::new(twice.into_iter().collect()).err(),
            Some(SecretKeysError::Duplicate)
        );
        assert_eq!(format!("{:?}", ring(&[("k2", 2), ("k1", 1)])), "[k2, k1]");
    }

    #[test]
    fn the_first_key_makes_hashes_and_all_accept_them() {
        let keys = |list: &[(&str, u8)]| MacKeys::derive(&ring(list), "a");
        let (old, both, new) = (
            keys(&[("k1", 1)]),
            keys(&[("k2", 2), ("k1", 1)]),
            keys(&[("k2", 2)]),
        );
        let (of_old, of_both) = (old.mac(&[b"x"]), both.mac(&[b"x"]));
        assert_eq!(of_both, new.mac(&[b"x"]));
        assert!(both.verify(&[b"x"], &of_old) && both.verify(&[b"x"], &of_both));
        assert!(!new.verify(&[b"x"], &of_old) && !old.verify(&[b"x"], &of_both));
        let macs = both.macs(&[b"x"]);
        assert_eq!(macs.first(), &new.stored(&[b"x"]));
        assert!(macs.contains(old.stored(&[b"x"]).as_bytes()));
        assert_eq!(both.get(KeyId::FIRST).mac(&[b"x"]), of_old);
        assert_eq!(new.get(KeyId::FIRST).mac(&[b"x"]), of_both, "a key that is gone");
        assert_eq!(format!("{both:?}"), "[k2, k1]");
    }
}
