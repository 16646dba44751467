//! A key that verifies access tokens with one algorithm.

use std::{fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, DecodingKey,
    crypto::verify,
    errors::{Error, ErrorKind},
};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

/// A public key or shared secret with its id and its algorithm. `Debug` shows the id alone.
#[derive(Clone)]
pub struct VerifyingKey {
    id: String,
    algorithm: Algorithm,
    key: Arc<Key>,
}

/// The key in the form that its library uses.
enum Key {
    /// An uncompressed point on P-256. Haven's own tokens are verified with one on every call, and `ring` takes a third
    /// of the time of the library used for the others.
    P256(UnparsedPublicKey<Vec<u8>>),
    Other(DecodingKey),
}

impl VerifyingKey {
    /// Creates the key `id` for ES256 (RFC 7518, section 3.4) from the coordinates of a point on P-256 (base64url
    /// without padding).
    ///
    /// # Errors
    ///
    /// An error when the coordinates are not a point on the curve.
    pub fn from_coordinates(id: &str, x: &str, y: &str) -> Result<Self, Error> {
        let looked_at = DecodingKey::from_ec_components(x, y)?;
        // `from_ec_components` does not check the point; `verify` does.
        verify("", b"", &looked_at, Algorithm::ES256)?;
        // SEC 1, section 2.3.3: the byte 4, then both coordinates.
        let point = [vec![4], URL_SAFE_NO_PAD.decode(x)?, URL_SAFE_NO_PAD.decode(y)?].concat();
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
        Ok(Self::new(id, Algorithm::ES256, Key::P256(key)))
    }

    /// Creates the key `id` for RS256 (RFC 7518, section 3.3) from an RSA modulus and exponent (unsigned, big-endian).
    ///
    /// # Errors
    ///
    /// An error when the modulus has fewer than 2048 bits, which that section forbids, or more than 4096, which could
    /// be used to keep a server busy; or when the exponent is invalid.
    pub(super) fn from_rsa(id: &str, modulus: &[u8], exponent: &[u8]) -> Result<Self, Error> {
        let unusable = |problem: &str| Err(ErrorKind::InvalidRsaKey(problem.to_owned()).into());
        if !(2048..=4096).contains(&bits(modulus)) {
            return unusable("its modulus must have 2048 to 4096 bits");
        }
        // An odd number above 1, with as many bits as implementations accept.
        if !(2..=33).contains(&bits(exponent)) || exponent.last().is_none_or(|last| last % 2 == 0) {
            return unusable("its exponent is invalid");
        }
        let key = DecodingKey::from_rsa_raw_components(modulus, exponent);
        Ok(Self::new(id, Algorithm::RS256, Key::Other(key)))
    }

    /// Creates a key for HS256 (RFC 7518, section 3.2) from a shared secret. It has no id: an issuer with a secret has
    /// only one.
    pub(super) fn from_secret(secret: &[u8]) -> Self {
        Self::new("", Algorithm::HS256, Key::Other(DecodingKey::from_secret(secret)))
    }

    fn new(id: &str, algorithm: Algorithm, key: Key) -> Self {
        Self {
            id: id.to_owned(),
            algorithm,
            key: Arc::new(key),
        }
    }

    /// Returns the key's id, which tokens have as `kid`.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Returns the algorithm that the key is for.
    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns whether this key made `signature` (base64url without padding) over `message`.
    pub(super) fn verifies(&self, message: &str, signature: &str) -> bool {
        match &*self.key {
            Key::P256(key) => URL_SAFE_NO_PAD
                .decode(signature)
                .is_ok_and(|signature| key.verify(message.as_bytes(), &signature).is_ok()),
            Key::Other(key) => verify(signature, message.as_bytes(), key, self.algorithm).unwrap_or_default(),
        }
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VerifyingKey").field(&self.id).finish()
    }
}

/// Returns the number of bits of `number`, without leading zeros.
fn bits(number: &[u8]) -> usize {
    let first = number.iter().position(|byte| *byte != 0);
    first.map_or(0, |first| {
        (number.len() - first) * 8 - number[first].leading_zeros() as usize
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_must_be_on_the_curve() {
        const X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
        const Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
        assert!(VerifyingKey::from_coordinates("k", X, Y).is_ok());
        for (x, y) in [(X, X), ("!", Y), (X, ""), ("", ""), (&X[..40], Y)] {
            assert!(VerifyingKey::from_coordinates("k", x, y).is_err(), "{x} {y}");
        }
    }

    #[test]
    fn an_rsa_key_must_have_2048_to_4096_bits_and_a_valid_exponent() {
        let usable = |bytes: usize, exponent: &[u8]| {
            let mut modulus = vec![0xff; bytes];
            modulus.insert(0, 0);
            VerifyingKey::from_rsa("k", &modulus, exponent).is_ok()
        };
        assert!(usable(256, &[1, 0, 1]) && usable(512, &[3]));
        assert!(!usable(255, &[3]) && !usable(513, &[3]) && !usable(0, &[3]));
        for exponent in [&[][..], &[0], &[1], &[2], &[0, 1], &[255; 5]] {
            assert!(!usable(256, exponent), "{exponent:?}");
        }
        assert_eq!(
            [bits(&[]), bits(&[0]), bits(&[0, 1]), bits(&[0x80, 0])],
            [0, 0, 1, 16]
        );
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", VerifyingKey::from_secret(b"canary"));
        assert_eq!(shown, r#"VerifyingKey("")"#);
    }
}
