//! The parser of one JSON Web Key (RFC 7517): a public key that verifies tokens.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::{Map, Value};

use super::verifying_key::{Curve, VerifyingKey};

/// Base64url with or without padding: RFC 7515 forbids the padding, and some programs write it.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The members that only private keys have (RFC 7518, section 6; RFC 8037; `priv` is that of the key type AKP).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "priv"];

/// The algorithms of keys that encrypt, which sets contain beside those that sign.
const ENCRYPTION: [&str; 9] = [
    "RSA1_5",
    "RSA-OAEP",
    "RSA-OAEP-256",
    "RSA-OAEP-384",
    "RSA-OAEP-512",
    "ECDH-ES",
    "ECDH-ES+A128KW",
    "ECDH-ES+A192KW",
    "ECDH-ES+A256KW",
];

/// The algorithms that sign and are not supported. Only names of this list are repeated in a log.
const UNSUPPORTED: [&str; 7] = ["RS384", "RS512", "PS256", "PS384", "PS512", "ES512", "ES256K"];

/// The curves that are not supported. Only names of this list are repeated in a log.
const UNSUPPORTED_CURVES: [&str; 5] = ["P-521", "secp256k1", "Ed448", "X25519", "X448"];

/// The reason why a key is left out of a set.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unused {
    /// The key is for something else than signatures, as RFC 7517 allows in every set.
    OtherPurpose(&'static str),
    /// The key could verify tokens if it were right, or if its algorithm were supported.
    Unusable(String),
}

impl Unused {
    /// Returns [`Unused::Unusable`] with `why`.
    pub(super) fn because(why: impl Into<String>) -> Self {
        Self::Unusable(why.into())
    }

    /// Returns why the key is not used. The text contains no part of the key.
    pub(super) fn why(&self) -> &str {
        match self {
            Self::OtherPurpose(why) => why,
            Self::Unusable(why) => why,
        }
    }
}

/// Returns whether `key` has a part of a private key.
pub(super) fn is_private(key: &Value) -> bool {
    PRIVATE.iter().any(|member| key.get(member).is_some())
}

/// Returns the id of `key`; `None` when it has none that a token could name.
pub(super) fn id(key: &Value) -> Option<&str> {
    key.get("kid").and_then(Value::as_str).filter(|id| !id.is_empty())
}

/// Parses `key`, which must not be private.
///
/// # Errors
///
/// [`Unused`] when no token can be verified with the key.
pub(super) fn parse(key: &Value) -> Result<VerifyingKey, Unused> {
    let Value::Object(members) = key else {
        return Err(Unused::because("it is not an object"));
    };
    let members = Members(members);
    let kty = members
        .text("kty")?
        .ok_or_else(|| Unused::because("it has no `kty`"))?;
    if members.text("use")?.is_some_and(|purpose| purpose != "sig") {
        return Err(Unused::OtherPurpose("its `use` is not `sig`"));
    }
    if !members.may_verify()? {
        return Err(Unused::OtherPurpose("its `key_ops` do not contain `verify`"));
    }
    let alg = members.text("alg")?;
    if alg.is_some_and(|alg| ENCRYPTION.contains(&alg)) {
        return Err(Unused::OtherPurpose("its `alg` is for encryption"));
    }
    if let Some(name) = UNSUPPORTED.iter().find(|name| alg == Some(name)) {
        return Err(Unused::because(format!("its `alg`, {name}, is not supported")));
    }
    let id = match members.0.get("kid") {
        None => "",
        Some(Value::String(id)) => id,
        Some(_) => return Err(Unused::because("its `kid` is not a string")),
    };
    let for_algorithm = |names: &[&str], problem: &str| match alg {
        Some(alg) if !names.contains(&alg) => Err(Unused::because(problem)),
        _ => Ok(()),
    };
    let key = match (kty, members.text("crv")?) {
        ("EC", Some("P-256")) => {
            for_algorithm(&["ES256"], "its `alg` must be ES256, the one of P-256")?;
            VerifyingKey::from_point(id, Curve::P256, &members.number("x")?, &members.number("y")?)
        }
        ("EC", Some("P-384")) => {
            for_algorithm(&["ES384"], "its `alg` must be ES384, the one of P-384")?;
            VerifyingKey::from_point(id, Curve::P384, &members.number("x")?, &members.number("y")?)
        }
        ("OKP", Some("Ed25519")) => {
            for_algorithm(&["EdDSA", "Ed25519"], "its `alg` must be EdDSA or Ed25519")?;
            VerifyingKey::from_ed25519(id, &members.number("x")?)
        }
        ("EC" | "OKP", curve) => {
            let known = UNSUPPORTED_CURVES.iter().find(|name| curve == Some(name));
            Err(match known {
                Some(name) => return Err(Unused::because(format!("its curve, {name}, is not supported"))),
                None => "its `crv` must be P-256, P-384 or Ed25519",
            })
        }
        ("RSA", _) => {
            for_algorithm(&["RS256"], "its `alg` must be RS256")?;
            VerifyingKey::from_rsa(id, &members.number("n")?, &members.number("e")?)
        }
        ("oct", _) => Err("its `kty` is oct: a shared secret does not belong in a set of public keys"),
        _ => Err("its `kty` must be EC, RSA or OKP"),
    };
    key.map_err(Unused::because)
}

/// The members of a key.
struct Members<'a>(&'a Map<String, Value>);

impl<'a> Members<'a> {
    /// Returns the text `name`, if there is one.
    fn text(&self, name: &str) -> Result<Option<&'a str>, Unused> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Unused::because(format!("its `{name}` is not a string"))),
        }
    }

    /// Returns the bytes of the number `name`.
    fn number(&self, name: &str) -> Result<Vec<u8>, Unused> {
        let text = self
            .text(name)?
            .ok_or_else(|| Unused::because(format!("it has no `{name}`")))?;
        BASE64URL
            .decode(text)
            .map_err(|_| Unused::because(format!("its `{name}` is not base64url")))
    }

    /// Returns whether `key_ops` allows the verification of signatures.
    fn may_verify(&self) -> Result<bool, Unused> {
        match self.0.get("key_ops") {
            None => Ok(true),
            Some(Value::Array(operations)) => Ok(operations.iter().any(|operation| operation == "verify")),
            Some(_) => Err(Unused::because("its `key_ops` is not an array")),
        }
    }
}
