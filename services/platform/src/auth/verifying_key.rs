//! A key that verifies access tokens with one algorithm.

use std::{fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, DecodingKey,
    crypto::verify,
    errors::{Error, ErrorKind},
};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, UnparsedPublicKey, VerificationAlgorithm,
};
use sha2::{Digest, Sha256};

/// A public key or shared secret with its id and its algorithm. `Debug` shows the id alone.
#[derive(Clone)]
pub struct VerifyingKey {
    id: Arc<str>,
    algorithm: Algorithm,
    key: Arc<Key>,
    /// The SHA-256 of the key's material.
    digest: [u8; 32],
}

/// The key in the form that its library uses.
enum Key {
    /// A point on a curve. Haven's own tokens are verified with one on every call, and `ring` takes a third of the time
    /// of the library used for the others.
    Point(UnparsedPublicKey<Vec<u8>>),
    Other(DecodingKey),
}

/// A curve of ECDSA keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
}

impl Curve {
    /// Returns the algorithm of signatures with keys on the curve (RFC 7518, section 3.4).
    pub(super) const fn algorithm(self) -> Algorithm {
        match self {
            Self::P256 => Algorithm::ES256,
            Self::P384 => Algorithm::ES384,
        }
    }

    fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_FIXED,
            Self::P384 => &ECDSA_P384_SHA384_FIXED,
        }
    }

    /// Returns the length of a coordinate, in bytes, and the problem of a coordinate with another length.
    const fn coordinate(self) -> (usize, &'static str) {
        match self {
            Self::P256 => (32, "its coordinates must have 32 bytes"),
            Self::P384 => (48, "its coordinates must have 48 bytes"),
        }
    }
}

impl VerifyingKey {
    /// Creates the key `id` for ES256 (RFC 7518, section 3.4) from the coordinates of a point on P-256 (base64url
    /// without padding).
    ///
    /// # Errors
    ///
    /// An error when the coordinates are not a point on the curve.
    pub fn from_coordinates(id: &str, x: &str, y: &str) -> Result<Self, Error> {
        let (x, y) = (URL_SAFE_NO_PAD.decode(x)?, URL_SAFE_NO_PAD.decode(y)?);
        Self::from_point(id, Curve::P256, &x, &y).map_err(|_| ErrorKind::InvalidEcdsaKey.into())
    }

    /// Creates the key `id` from the coordinates of a point on `curve` (unsigned, big-endian).
    ///
    /// # Errors
    ///
    /// A description when a coordinate does not have the length that RFC 7518, section 6.2.1, requires, or the point is
    /// not on the curve.
    pub(super) fn from_point(id: &str, curve: Curve, x: &[u8], y: &[u8]) -> Result<Self, &'static str> {
        let (length, problem) = curve.coordinate();
        if x.len() != length || y.len() != length {
            return Err(problem);
        }
        let [encoded_x, encoded_y] = [x, y].map(|coordinate| URL_SAFE_NO_PAD.encode(coordinate));
        // `from_ec_components` does not check the point; `verify` does.
        DecodingKey::from_ec_components(&encoded_x, &encoded_y)
            .and_then(|key| verify("", b"", &key, curve.algorithm()))
            .map_err(|_| "its point is not on its curve")?;
        // SEC 1, section 2.3.3: the byte 4, then both coordinates.
        let point = UnparsedPublicKey::new(curve.verification(), [&[4], x, y].concat());
        Ok(Self::new(id, curve.algorithm(), Key::Point(point), &[x, y]))
    }

    /// Creates the key `id` for EdDSA with Ed25519 (RFC 8037) from its compressed point.
    ///
    /// # Errors
    ///
    /// A description when the bytes are not a point on the curve, or one of the few points that verify signatures which
    /// were made without a private key.
    pub(super) fn from_ed25519(id: &str, point: &[u8]) -> Result<Self, &'static str> {
        let bytes = <&[u8; 32]>::try_from(point).map_err(|_| "its `x` must have 32 bytes")?;
        let checked =
            ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| "its point is not on its curve")?;
        if checked.is_weak() {
            return Err("its point has a small order, so that anyone can sign");
        }
        let key = UnparsedPublicKey::new(&ED25519 as &dyn VerificationAlgorithm, point.to_vec());
        Ok(Self::new(id, Algorithm::EdDSA, Key::Point(key), &[point]))
    }

    /// Creates the key `id` for RS256 (RFC 7518, section 3.3) from an RSA modulus and exponent (unsigned, big-endian).
    ///
    /// # Errors
    ///
    /// A description when the modulus has fewer than 2048 bits, which that section forbids, or more than 4096, which could
    /// be used to keep a server busy; or when the modulus is even or the exponent is invalid.
    pub(super) fn from_rsa(id: &str, modulus: &[u8], exponent: &[u8]) -> Result<Self, &'static str> {
        let is_even = |number: &[u8]| number.last().is_none_or(|last| last % 2 == 0);
        if !(2048..=4096).contains(&bits(modulus)) {
            return Err("its modulus must have 2048 to 4096 bits");
        }
        if is_even(modulus) {
            return Err("its modulus must be odd");
        }
        // An odd number above 1, with as many bits as implementations accept.
        if !(2..=33).contains(&bits(exponent)) || is_even(exponent) {
            return Err("its exponent is invalid");
        }
        let key = DecodingKey::from_rsa_raw_components(modulus, exponent);
        Ok(Self::new(
            id,
            Algorithm::RS256,
            Key::Other(key),
            &[modulus, exponent],
        ))
    }

    /// Creates a key for HS256 (RFC 7518, section 3.2) from a shared secret. It has no id: an issuer with a secret has
    /// only one.
    pub(super) fn from_secret(secret: &[u8]) -> Self {
        let key = Key::Other(DecodingKey::from_secret(secret));
        Self::new("", Algorithm::HS256, key, &[secret])
    }

    fn new(id: &str, algorithm: Algorithm, key: Key, material: &[&[u8]]) -> Self {
        let mut digest = Sha256::new();
        for part in material {
            // With its length, so that a part cannot pass for the end of the one before.
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        Self {
            id: id.into(),
            algorithm,
            key: Arc::new(key),
            digest: digest.finalize().into(),
        }
    }

    /// Returns whether `other` is this very key: the same material for the same algorithm. The ids do not matter.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.algorithm == other.algorithm && self.digest == other.digest
    }

    /// Returns the key's id, which tokens have as `kid`. It is empty when the key has none.
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
            Key::Point(key) => URL_SAFE_NO_PAD
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
    fn a_coordinate_has_the_length_of_its_curve() {
        let coordinate = |text| URL_SAFE_NO_PAD.decode(text).unwrap();
        let point = [
            coordinate("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"),
            coordinate("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"),
        ]
        .concat();
        // The same point, cut at another place.
        for cut in [31, 32, 33] {
            let key = VerifyingKey::from_point("k", Curve::P256, &point[..cut], &point[cut..]);
            assert_eq!(key.is_ok(), cut == 32, "{cut}");
        }
        let p384 = VerifyingKey::from_point("k", Curve::P384, &point[..32], &point[32..]);
        assert_eq!(p384.unwrap_err(), "its coordinates must have 48 bytes");
    }

    #[test]
    fn an_ed25519_key_is_a_point_with_a_large_order() {
        // RFC 8037, appendix A.2.
        let good = URL_SAFE_NO_PAD
            .decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
            .unwrap();
        assert!(VerifyingKey::from_ed25519("k", &good).is_ok());
        let mut identity = [0; 32];
        identity[0] = 1;
        for (point, problem) in [
            (&good[..31], "its `x` must have 32 bytes"),
            (&identity, "its point has a small order, so that anyone can sign"),
            (&[0; 32], "its point has a small order, so that anyone can sign"),
        ] {
            assert_eq!(VerifyingKey::from_ed25519("k", point).unwrap_err(), problem);
        }
        // Half of all numbers are not the coordinate of a point.
        let problems = (2..22).filter_map(|number| {
            let mut point = [0; 32];
            point[0] = number;
            VerifyingKey::from_ed25519("k", &point).err()
        });
        let problems: Vec<_> = problems.collect();
        assert!((1..20).contains(&problems.len()), "{problems:?}");
        assert!(
            problems
                .iter()
                .all(|problem| *problem == "its point is not on its curve")
        );
    }

    #[test]
    fn an_rsa_key_must_have_2048_to_4096_bits_and_a_valid_exponent() {
        let usable = |bytes: usize, exponent: &[u8]| {
            let mut modulus = vec![0xff; bytes];
            modulus.insert(0, 0);
            VerifyingKey::from_rsa("k", &modulus, exponent).is_ok()
        };
        assert!(usable(256, &[1, 0, 1]) && usable(512, &[3]));
        let even = [vec![0xff; 255], vec![0xfe]].concat();
        assert!(VerifyingKey::from_rsa("k", &even, &[3]).is_err());
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
    fn a_key_is_the_same_if_its_material_is() {
        let secret = |text: &[u8]| VerifyingKey::from_secret(text);
        let rsa = |last, exponent| {
            let mut modulus = vec![0xff; 256];
            modulus[255] = last;
            VerifyingKey::from_rsa("k", &modulus, exponent).unwrap()
        };
        let keys = [
            secret(b"one"),
            secret(b"two"),
            rsa(0xff, &[3]),
            rsa(0xfd, &[3]),
            rsa(0xff, &[5]),
        ];
        for (i, one) in keys.iter().enumerate() {
            for (j, other) in keys.iter().enumerate() {
                assert_eq!(one.is_same(other), i == j, "{i} {j}");
            }
        }
        let named = VerifyingKey {
            id: "a".into(),
            ..secret(b"one")
        };
        assert!(named.is_same(&keys[0]));
        let other_algorithm = VerifyingKey {
            algorithm: Algorithm::ES256,
            ..secret(b"one")
        };
        assert!(!other_algorithm.is_same(&keys[0]));
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", VerifyingKey::from_secret(b"canary"));
        assert_eq!(shown, r#"VerifyingKey("")"#);
    }
}
