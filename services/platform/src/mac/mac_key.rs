//! The key of keyed hashes for one purpose.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretBox};
use sha2::Sha256;

use super::MAC_BYTES;

/// A secret for keyed hashes: 32 bytes.
pub type SecretKey = SecretBox<[u8; 32]>;

/// A key for one purpose. A hash made with the key of one purpose does not verify with that of another.
#[derive(Clone)]
pub struct MacKey(Hmac<Sha256>);

impl MacKey {
    /// Derives the key for `purpose` from a secret of the service.
    #[must_use]
    pub fn derive(secret: &SecretKey, purpose: &'static str) -> Self {
        let root = keyed(secret.expose_secret());
        let derived = root.chain_update(purpose.as_bytes()).finalize().into_bytes();
        Self(keyed(&derived))
    }

    /// Returns the keyed hash of `parts`. Each part is preceded by its length, so that different splits of the same
    /// bytes have different hashes.
    #[must_use]
    pub fn mac(&self, parts: &[&[u8]]) -> [u8; MAC_BYTES] {
        self.feed(parts).finalize().into_bytes().into()
    }

    /// Returns whether `tag` is the keyed hash of `parts`. Takes constant time.
    #[must_use]
    pub fn verify(&self, parts: &[&[u8]], tag: &[u8]) -> bool {
        self.feed(parts).verify_slice(tag).is_ok()
    }

    fn feed(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        parts.iter().fold(self.0.clone(), |mac, part| {
            mac.chain_update((part.len() as u64).to_be_bytes())
                .chain_update(part)
        })
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

impl std::fmt::Debug for MacKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MacKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_depends_on_the_purpose_and_on_how_the_parts_are_split() {
        let secret = SecretKey::new(Box::new([7; 32]));
        let (a, b) = (MacKey::derive(&secret, "a"), MacKey::derive(&secret, "b"));
        let tag = a.mac(&[b"one", b"two"]);
        assert!(a.verify(&[b"one", b"two"], &tag));
        assert!(!b.verify(&[b"one", b"two"], &tag));
        assert!(!a.verify(&[b"onet", b"wo"], &tag));
        assert!(!a.verify(&[b"one", b"two"], &tag[..31]));
    }
}
