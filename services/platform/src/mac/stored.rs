//! Keyed hashes as they are stored: each names the key that made it.

use std::fmt;

use super::{KeyId, MAC_BYTES};

/// A keyed hash as it is stored: its 32 bytes, and after them the id of its key.
///
/// The id [`KeyId::FIRST`] is left out: hashes that were stored before there was a ring have the same form, and are under
/// the key that had no id then.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoredMac {
    bytes: [u8; MAC_BYTES + KeyId::MAX_BYTES],
    len: u8,
}

/// The hashes of the same content under each key of a ring, in the order of the ring. At least one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct StoredMacs {
    macs: [StoredMac; Self::MAX],
    len: u8,
}

// === impl StoredMac ===

impl StoredMac {
    /// Creates the stored form of a hash under the key with this id.
    #[must_use]
    pub fn new(mac: [u8; MAC_BYTES], key: KeyId) -> Self {
        let suffix = match key {
            KeyId::FIRST => "",
            _ => key.as_str(),
        };
        let mut bytes = [0; MAC_BYTES + KeyId::MAX_BYTES];
        bytes[..MAC_BYTES].copy_from_slice(&mac);
        bytes[MAC_BYTES..MAC_BYTES + suffix.len()].copy_from_slice(suffix.as_bytes());
        Self {
            bytes,
            len: (MAC_BYTES + suffix.len()) as u8,
        }
    }

    /// Returns the bytes to store: 32 to 40.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Returns the hash without the id of its key.
    #[must_use]
    pub fn mac(&self) -> [u8; MAC_BYTES] {
        let mut mac = [0; MAC_BYTES];
        mac.copy_from_slice(&self.bytes[..MAC_BYTES]);
        mac
    }
}

impl fmt::Debug for StoredMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredMac")
    }
}

// === impl StoredMacs ===

impl StoredMacs {
    /// The maximum number of hashes: a ring has no more keys.
    pub const MAX: usize = 4;

    /// Creates the list of `first` and of up to three `others`.
    pub(super) fn new(first: StoredMac, others: impl Iterator<Item = StoredMac>) -> Self {
        let mut all = Self::from(first);
        for (slot, other) in all.macs[1..].iter_mut().zip(others) {
            *slot = other;
            all.len += 1;
        }
        all
    }

    /// Returns the hash under the first key of the ring: the one to store.
    #[must_use]
    pub fn first(&self) -> &StoredMac {
        &self.macs[0]
    }

    /// Returns whether a stored hash is one of these.
    #[must_use]
    pub fn contains(&self, stored: &[u8]) -> bool {
        self.iter().any(|mac| mac.as_bytes() == stored)
    }

    /// Returns the hashes in the order of the ring.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &StoredMac> {
        self.macs[..usize::from(self.len)].iter()
    }

    /// Returns the hashes as a parameter of a statement, in the order of the ring.
    #[must_use]
    pub fn to_vecs(&self) -> Vec<Vec<u8>> {
        self.iter().map(|mac| mac.as_bytes().to_vec()).collect()
    }

    /// Returns the hashes as a parameter of a statement that locks something for each: in an order that does not depend
    /// on the order of the ring, which may differ between replicas.
    #[must_use]
    pub fn to_sorted_vecs(&self) -> Vec<Vec<u8>> {
        let mut all = self.to_vecs();
        all.sort_unstable();
        all
    }
}

impl From<StoredMac> for StoredMacs {
    fn from(mac: StoredMac) -> Self {
        Self {
            macs: [mac; Self::MAX],
            len: 1,
        }
    }
}

impl fmt::Debug for StoredMacs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredMacs({})", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(mac: u8, key: &str) -> StoredMac {
        StoredMac::new([mac; 32], KeyId::parse(key).unwrap())
    }

    #[test]
    fn a_stored_hash_ends_with_the_id_of_its_key_unless_it_is_the_first() {
        assert_eq!(stored(7, "k1").as_bytes(), [7; 32]);
        assert_eq!(stored(7, "k2").as_bytes(), [[7; 32].as_slice(), b"k2"].concat());
        assert_eq!(stored(7, "12345678").as_bytes().len(), 40);
        assert_eq!(stored(7, "12345678").mac(), [7; 32]);
        assert_ne!(stored(7, "k2"), stored(7, "k3"));
    }

    #[test]
    fn a_list_has_the_order_of_the_ring_or_one_that_does_not_depend_on_it() {
        let (a, b) = (stored(2, "k2"), stored(1, "k1"));
        let (list, swapped) = (
            StoredMacs::new(a, [b].into_iter()),
            StoredMacs::new(b, [a].into_iter()),
        );
        assert_eq!(list.to_vecs(), [a.as_bytes(), b.as_bytes()]);
        assert_eq!(list.first(), &a);
        assert_eq!(list.to_sorted_vecs(), swapped.to_sorted_vecs());
        assert!(list.contains(b.as_bytes()) && !list.contains(&[1; 31]));
        assert_eq!(StoredMacs::from(a).to_vecs(), [a.as_bytes()]);
        assert_ne!(StoredMacs::from(a), list);
    }
}
