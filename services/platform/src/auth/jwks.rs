//! The parser of JSON Web Key Sets (RFC 7517): the public keys of a trusted issuer.

use std::collections::HashMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    errors::ErrorKind,
    jwk::{
        AlgorithmParameters, CommonParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, KeyOperations,
        PublicKeyUse, RSAKeyParameters,
    },
};

use super::verifying_key::VerifyingKey;

/// A problem of a key set. Its text contains no part of the file except key ids: the file may be another one, with a
/// secret in it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum JwksProblem {
    #[error("the file is not a JSON Web Key Set (line {line}, column {column})")]
    NotASet { line: usize, column: usize },
    #[error("key {0} has no `kid`")]
    MissingKid(usize),
    #[error("two keys have the `kid` {0:?}")]
    DuplicateKid(String),
    #[error("the `alg` of key {0:?} does not match its `kty`")]
    AlgorithmMismatch(String),
    #[error("key {0:?} cannot be used: {1}")]
    Unusable(String, String),
    #[error("the set has no key for ES256 (P-256) or RS256")]
    NoUsableKey,
}

/// Parses a set and returns its keys for ES256 and RS256 by their `kid`. Keys for other purposes are skipped, as RFC
/// 7517 requires; keys for these algorithms that cannot be used are problems.
pub(super) fn parse(json: &str) -> Result<HashMap<String, VerifyingKey>, Vec<JwksProblem>> {
    let set: JwkSet = serde_json::from_str(json).map_err(|error| {
        vec![JwksProblem::NotASet {
            line: error.line(),
            column: error.column(),
        }]
    })?;
    let (mut keys, mut problems) = (HashMap::new(), Vec::new());
    for (position, jwk) in set.keys.iter().enumerate() {
        match verifying_key(jwk, position + 1) {
            Ok(None) => {}
            Ok(Some(key)) => {
                if let Some(other) = keys.insert(key.id().to_owned(), key) {
                    problems.push(JwksProblem::DuplicateKid(other.id().to_owned()));
                }
            }
            Err(problem) => problems.push(problem),
        }
    }
    if keys.is_empty() && problems.is_empty() {
        problems.push(JwksProblem::NoUsableKey);
    }
    match problems.is_empty() {
        true => Ok(keys),
        false => Err(problems),
    }
}

/// Converts a key; `None` when it is not for ES256 or RS256. `position` identifies a key without a `kid` in the
/// problem's text.
fn verifying_key(jwk: &Jwk, position: usize) -> Result<Option<VerifyingKey>, JwksProblem> {
    let (ours, others): (_, &[_]) = match &jwk.algorithm {
        AlgorithmParameters::EllipticCurve(_) => (
            KeyAlgorithm::ES256,
            &[KeyAlgorithm::ES384, KeyAlgorithm::UNKNOWN_ALGORITHM],
        ),
        AlgorithmParameters::RSA(_) => (KeyAlgorithm::RS256, &OTHER_RSA_ALGORITHMS),
        _ => return Ok(None),
    };
    if !is_for_verifying(&jwk.common) {
        return Ok(None);
    }
    let id = jwk.common.key_id.clone().filter(|id| !id.is_empty());
    match jwk.common.key_algorithm {
        None => {}
        Some(algorithm) if algorithm == ours => {}
        Some(algorithm) if others.contains(&algorithm) => return Ok(None),
        Some(_) => return Err(JwksProblem::AlgorithmMismatch(id.unwrap_or_default())),
    }
    let id = id.ok_or(JwksProblem::MissingKid(position))?;
    let key = match &jwk.algorithm {
        AlgorithmParameters::EllipticCurve(point) if point.curve == EllipticCurve::P256 => {
            VerifyingKey::from_coordinates(&id, &point.x, &point.y)
                .map_err(|_| "it is not a point on P-256".to_owned())
        }
        AlgorithmParameters::RSA(numbers) => rsa(&id, numbers),
        _ => return Ok(None),
    };
    key.map(Some).map_err(|why| JwksProblem::Unusable(id, why))
}

/// The algorithms of other RSA keys, which are skipped.
const OTHER_RSA_ALGORITHMS: [KeyAlgorithm; 9] = [
    KeyAlgorithm::RS384,
    KeyAlgorithm::RS512,
    KeyAlgorithm::PS256,
    KeyAlgorithm::PS384,
    KeyAlgorithm::PS512,
    KeyAlgorithm::RSA1_5,
    KeyAlgorithm::RSA_OAEP,
    KeyAlgorithm::RSA_OAEP_256,
    KeyAlgorithm::UNKNOWN_ALGORITHM,
];

fn is_for_verifying(common: &CommonParameters) -> bool {
    let used = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
    let operations = common.key_operations.as_ref();
    used && operations.is_none_or(|operations| operations.contains(&KeyOperations::Verify))
}

fn rsa(id: &str, numbers: &RSAKeyParameters) -> Result<VerifyingKey, String> {
    let bytes = |number: &str| {
        URL_SAFE_NO_PAD
            .decode(number)
            .map_err(|_| "its numbers are not base64url".to_owned())
    };
    VerifyingKey::from_rsa(id, &bytes(&numbers.n)?, &bytes(&numbers.e)?).map_err(|error| {
        match error.into_kind() {
            ErrorKind::InvalidRsaKey(why) => why,
            _ => "it is not an RSA key".to_owned(),
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn ec(kid: &str) -> Value {
        json!({
            "kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "alg": "ES256", "key_ops": ["verify"], "ext": true,
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        })
    }

    fn rsa(kid: &str, bytes: usize) -> Value {
        let n = URL_SAFE_NO_PAD.encode(vec![0xff; bytes]);
        json!({"kty": "RSA", "kid": kid, "n": n, "e": "AQAB"})
    }

    fn with(mut key: Value, name: &str, value: Value) -> Value {
        key[name] = value;
        key
    }

    fn without(mut key: Value, name: &str) -> Value {
        key.as_object_mut().unwrap().remove(name);
        key
    }

    fn read(keys: &[Value]) -> Result<Vec<String>, Vec<String>> {
        let texts = |problems: Vec<JwksProblem>| problems.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut ids: Vec<_> = parse(&json!({"keys": keys}).to_string())
            .map_err(texts)?
            .into_keys()
            .collect();
        ids.sort();
        Ok(ids)
    }

    #[test]
    fn keys_for_es256_and_rs256_are_read_and_others_skipped() {
        let keys = [
            ec("a"),
            without(without(ec("b"), "alg"), "use"),
            rsa("c", 256),
            with(rsa("d", 256), "alg", json!("RS256")),
            // Keys for other purposes.
            with(ec("e"), "use", json!("enc")),
            with(ec("f"), "key_ops", json!(["deriveKey"])),
            with(ec("g"), "alg", json!("ECDH-ES")),
            with(rsa("h", 256), "alg", json!("PS256")),
            with(without(ec("i"), "alg"), "crv", json!("P-384")),
            json!({"kty": "oct", "kid": "j", "k": "c2VjcmV0", "alg": "HS256"}),
            json!({"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": "AA", "alg": "EdDSA"}),
            json!({"kty": "new", "kid": "l"}),
        ];
        assert_eq!(read(&keys), Ok(["a", "b", "c", "d"].map(String::from).to_vec()));
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let keys = [
            ec("a"),
            rsa("a", 256),
            without(ec("b"), "kid"),
            with(ec("c"), "alg", json!("RS256")),
            with(rsa("d", 256), "alg", json!("HS256")),
            with(ec("e"), "x", json!("AAAA")),
            rsa("f", 128),
            with(rsa("g", 256), "e", json!("%")),
        ];
        assert_eq!(
            read(&keys).unwrap_err(),
            [
                r#"two keys have the `kid` "a""#,
                "key 3 has no `kid`",
                r#"the `alg` of key "c" does not match its `kty`"#,
                r#"the `alg` of key "d" does not match its `kty`"#,
                r#"key "e" cannot be used: it is not a point on P-256"#,
                r#"key "f" cannot be used: its modulus must have 2048 to 4096 bits"#,
                r#"key "g" cannot be used: its numbers are not base64url"#,
            ]
        );
    }

    #[test]
    fn a_set_without_a_usable_key_is_a_problem() {
        assert_eq!(parse(r#"{"keys": []}"#).unwrap_err(), [JwksProblem::NoUsableKey]);
        let other = with(ec("a"), "use", json!("enc"));
        assert_eq!(
            read(&[other]).unwrap_err(),
            ["the set has no key for ES256 (P-256) or RS256"]
        );
        for wrong in [
            "",
            "canary",
            r#""canary""#,
            r#"{"keys": "canary"}"#,
            r#"{"keys": ["canary"]}"#,
        ] {
            let problems = parse(wrong).unwrap_err();
            assert!(matches!(problems[..], [JwksProblem::NotASet { .. }]), "{wrong}");
            assert!(!problems[0].to_string().contains("canary"));
        }
    }
}
