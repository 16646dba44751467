//! Tests of every form of a key set, and of every key that is left out of one.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use rcgen::{CertificateParams, Issuer, KeyPair, SubjectPublicKeyInfo};
use serde_json::{Value, json};

use super::*;

fn ec(kid: &str) -> Value {
    json!({
        "kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "alg": "ES256", "key_ops": ["verify"], "ext": true,
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    })
}

fn p384(kid: &str) -> Value {
    json!({
        "kty": "EC", "crv": "P-384", "kid": kid,
        "x": P384[0], "y": P384[1],
    })
}

/// The generator of P-384 (SEC 2, section 2.5.1).
const P384: [&str; 2] = [
    "qofKIr6LBTeOscce8yCtdG4dO2KLp5uYWfdB4IJUKjhVAvJdv1UpbDpUXjhydgq3",
    "NhfeSpYmLG9dnpi_kpLcKfj0Hb0omhR86doxE7XwuMAKYLHOHX6BnXpDHXyQ6g5f",
];

/// The key of RFC 8037, appendix A.2.
fn ed25519(kid: &str) -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
}

fn rsa(kid: &str, bytes: usize) -> Value {
    let n = URL_SAFE_NO_PAD.encode(vec![0xff; bytes]);
    json!({"kty": "RSA", "kid": kid, "n": n, "e": "AQAB"})
}

/// The DER encoding of an RSA public key with the exponent 65537 (RFC 5280, section 4.1).
fn rsa_public_key() -> Vec<u8> {
    let prefix =
        b"\x30\x82\x01\x22\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00\x03\x82\x01\x0f\x00\
        \x30\x82\x01\x0a\x02\x82\x01\x01\x00";
    [&prefix[..], &[0xff; 256], b"\x02\x03\x01\x00\x01"].concat()
}

fn with(mut key: Value, name: &str, value: Value) -> Value {
    key[name] = value;
    key
}

fn without(mut key: Value, name: &str) -> Value {
    key.as_object_mut().unwrap().remove(name);
    key
}

fn published(document: &Value) -> Result<Published, JwksProblem> {
    parse(document.to_string().as_bytes())
}

/// The ids of the usable keys of a document, and the skipped ones.
fn read(document: &Value) -> (Vec<String>, Vec<String>) {
    let found = published(document).unwrap();
    let ids = found.keys.iter().map(|key| key.id().to_owned());
    (
        ids.collect(),
        found.skipped.iter().map(ToString::to_string).collect(),
    )
}

/// The reason why a key is left out of a set with another key.
fn reason(key: Value) -> Unused {
    let document = json!({"keys": [ec("usable"), key]});
    let Published { keys, mut skipped } = published(&document).unwrap();
    assert_eq!((keys.len(), skipped.len()), (1, 1), "{document}");
    skipped.remove(0).reason
}

#[test]
fn keys_for_four_algorithms_are_read() {
    let keys = [
        ec("a"),
        without(without(without(ec("b"), "alg"), "use"), "key_ops"),
        rsa("c", 256),
        with(rsa("d", 256), "alg", json!("RS256")),
        p384("e"),
        with(p384("f"), "alg", json!("ES384")),
        ed25519("g"),
        with(ed25519("h"), "alg", json!("EdDSA")),
        with(ed25519("i"), "alg", json!("Ed25519")),
    ];
    let found = published(&json!({"keys": keys})).unwrap();
    assert_eq!(found.skipped, []);
    let algorithms: Vec<_> = found.keys.iter().map(|key| (key.id(), key.algorithm())).collect();
    let expected = [
        ("a", Algorithm::ES256),
        ("b", Algorithm::ES256),
        ("c", Algorithm::RS256),
        ("d", Algorithm::RS256),
        ("e", Algorithm::ES384),
        ("f", Algorithm::ES384),
        ("g", Algorithm::EdDSA),
        ("h", Algorithm::EdDSA),
        ("i", Algorithm::EdDSA),
    ];
    assert_eq!(algorithms, expected);
}

#[test]
fn keys_for_other_purposes_are_left_out() {
    for (key, why) in [
        (with(ec("k"), "use", json!("enc")), "its `use` is not `sig`"),
        (
            with(ec("k"), "key_ops", json!(["deriveKey"])),
            "its `key_ops` do not contain `verify`",
        ),
        (
            with(without(ec("k"), "use"), "alg", json!("ECDH-ES")),
            "its `alg` is for encryption",
        ),
        (
            with(rsa("k", 256), "alg", json!("RSA-OAEP")),
            "its `alg` is for encryption",
        ),
    ] {
        assert_eq!(reason(key), Unused::OtherPurpose(why));
    }
}

#[test]
fn a_key_that_cannot_be_used_is_left_out_and_named() {
    for (key, why) in [
        (json!("canary"), "it is not an object"),
        (json!({"kid": "k"}), "it has no `kty`"),
        (json!({"kty": 1}), "its `kty` is not a string"),
        (json!({"kty": "canary"}), "its `kty` must be EC, RSA or OKP"),
        (
            json!({"kty": "oct", "kid": "j", "k": "canary", "alg": "HS256"}),
            "its `kty` is oct: a shared secret does not belong in a set of public keys",
        ),
        (with(ec("k"), "kid", json!(7)), "its `kid` is not a string"),
        (with(ec("k"), "kid", json!(null)), "its `kid` is not a string"),
        (
            with(ec("k"), "alg", json!("RS256")),
            "its `alg` must be ES256, the one of P-256",
        ),
        (
            with(ec("k"), "alg", json!("none")),
            "its `alg` must be ES256, the one of P-256",
        ),
        (
            with(ec("k"), "alg", json!("HS256")),
            "its `alg` must be ES256, the one of P-256",
        ),
        (
            with(p384("k"), "alg", json!("ES256")),
            "its `alg` must be ES384, the one of P-384",
        ),
        (
            with(ed25519("k"), "alg", json!("ES256")),
            "its `alg` must be EdDSA or Ed25519",
        ),
        (
            with(rsa("k", 256), "alg", json!("HS256")),
            "its `alg` must be RS256",
        ),
        (
            with(rsa("k", 256), "alg", json!("PS256")),
            "its `alg`, PS256, is not supported",
        ),
        (
            with(ec("k"), "crv", json!("P-384")),
            "its `alg` must be ES384, the one of P-384",
        ),
        (
            with(without(ec("k"), "alg"), "crv", json!("secp256k1")),
            "its curve, secp256k1, is not supported",
        ),
        (
            with(ed25519("k"), "crv", json!("Ed448")),
            "its curve, Ed448, is not supported",
        ),
        (
            with(ec("k"), "crv", json!("canary")),
            "its `crv` must be P-256, P-384 or Ed25519",
        ),
        (without(ec("k"), "y"), "it has no `y`"),
        (
            with(ec("k"), "x", ec("k")["y"].clone()),
            "its point is not on its curve",
        ),
        (
            with(ec("k"), "x", json!("AAAA")),
            "its coordinates must have 32 bytes",
        ),
        (
            with(ed25519("k"), "x", json!("AAAA")),
            "its `x` must have 32 bytes",
        ),
        (rsa("k", 128), "its modulus must have 2048 to 4096 bits"),
        (with(rsa("k", 256), "e", json!("%")), "its `e` is not base64url"),
        (
            with(rsa("k", 256), "n", json!("+/+/")),
            "its `n` is not base64url",
        ),
        (with(rsa("k", 256), "e", json!(65537)), "its `e` is not a string"),
        (
            with(ec("k"), "key_ops", json!("verify")),
            "its `key_ops` is not an array",
        ),
    ] {
        let reason = reason(key);
        assert_eq!(reason, Unused::because(why));
        assert!(!reason.why().contains("canary"));
    }
}

#[test]
fn numbers_may_be_padded() {
    for modulus in [
        // A zero byte before the number, and the padding of Base64.
        URL_SAFE_NO_PAD.encode([vec![0], vec![0xff; 256]].concat()),
        format!("{}==", URL_SAFE_NO_PAD.encode([0xff; 256])),
    ] {
        let key = with(rsa("k", 256), "n", json!(modulus));
        assert_eq!(read(&json!({"keys": [key]})).0, ["k"]);
    }
}

#[test]
fn a_key_needs_no_id_and_an_empty_one_is_none() {
    let keys = [
        without(ec(""), "kid"),
        ec(""),
        with(ec("b"), "alg", json!("HS256")),
    ];
    let (ids, skipped) = read(&json!({"keys": keys}));
    assert_eq!(ids, ["", ""]);
    assert_eq!(skipped, [r#"key "b": its `alg` must be ES256, the one of P-256"#]);
    let (_, skipped) = read(&json!({"keys": [ec("a"), without(rsa("", 128), "kid")]}));
    assert_eq!(skipped, ["key 2: its modulus must have 2048 to 4096 bits"]);
}

#[test]
fn four_keys_may_have_one_id_and_algorithm() {
    let keys: Vec<_> = (0..5).map(|_| ec("a")).chain([rsa("a", 256)]).collect();
    let (ids, skipped) = read(&json!({"keys": keys}));
    assert_eq!(ids, ["a"; 5]);
    assert_eq!(
        skipped,
        [r#"key "a": too many keys before it have its `kid` and its algorithm"#]
    );
}

#[test]
fn a_set_may_have_a_byte_order_mark_or_be_an_array_or_one_key() {
    let set = json!({"keys": [ec("a")]});
    let marked = format!("\u{feff}{set}");
    assert_eq!(parse(marked.as_bytes()).unwrap().keys.len(), 1);
    assert_eq!(read(&json!([ec("a"), ed25519("b")])).0, ["a", "b"]);
    assert_eq!(read(&ed25519("b")).0, ["b"]);
}

#[test]
fn a_set_may_be_certificates_by_key_id() {
    let params = || CertificateParams::new(vec!["securetoken.example".to_owned()]).unwrap();
    let key = KeyPair::generate().unwrap();
    let ec = params().self_signed(&key).unwrap().pem();
    let rsa = SubjectPublicKeyInfo::from_der(&rsa_public_key()).unwrap();
    let rsa = params()
        .signed_by(&rsa, &Issuer::new(params(), key))
        .unwrap()
        .pem();
    let found = published(&json!({"r1": rsa, "e1": ec, "x": "canary"})).unwrap();
    let keys: Vec<_> = found.keys.iter().map(|key| (key.id(), key.algorithm())).collect();
    assert_eq!(keys, [("r1", Algorithm::RS256)]);
    let mut skipped: Vec<_> = found.skipped.iter().map(ToString::to_string).collect();
    skipped.sort();
    assert_eq!(
        skipped,
        [
            r#"key "e1": its certificate has no RSA key"#,
            r#"key "x": it is not an X.509 certificate (PEM)"#
        ]
    );
}

#[test]
fn a_private_key_is_refused_and_not_shown() {
    for private in [
        json!({"keys": [ec("a"), with(ec("b"), "d", json!("canary"))]}),
        json!({"keys": [ec("a"), with(rsa("b", 256), "p", json!("canary"))]}),
        with(ed25519("b"), "d", json!("canary")),
        json!({"a": "-----BEGIN CERTIFICATE-----", "b": format!("-----BEGIN {} KEY-----\ncanary", "PRIVATE")}),
    ] {
        let problem = published(&private).unwrap_err();
        assert_eq!(problem, JwksProblem::Private(r#"key "b""#.to_owned()));
        assert!(!problem.to_string().contains("canary"));
    }
}

#[test]
fn a_document_without_a_usable_key_is_a_problem() {
    let none = published(&json!({"keys": []})).unwrap_err();
    assert_eq!(none.to_string(), "it has no usable key");
    let other = published(&json!([with(ec("a"), "use", json!("enc")), rsa("b", 128)])).unwrap_err();
    assert_eq!(
        other.to_string(),
        r#"it has no usable key; key "a": its `use` is not `sig`; key "b": its modulus must have 2048 to 4096 bits"#
    );
    for wrong in [
        r#""canary""#,
        "1",
        "{}",
        r#"{"keys": "canary"}"#,
        r#"{"keys": {"a": "canary"}}"#,
        r#"{"private_key_id": "canary", "client_email": "canary"}"#,
    ] {
        let problem = parse(wrong.as_bytes()).unwrap_err();
        assert_eq!(problem, JwksProblem::NotASet, "{wrong}");
    }
    for wrong in [&b""[..], b"canary", b"\xff\xfe{\0", b"[1,]"] {
        let problem = parse(wrong).unwrap_err();
        assert!(matches!(problem, JwksProblem::NotJson { .. }), "{wrong:?}");
        assert!(!problem.to_string().contains("canary"));
    }
}

#[test]
fn a_long_id_is_cut() {
    let long = "k".repeat(100);
    let (_, skipped) = read(&json!([ec("a"), rsa(&long, 128)]));
    assert!(
        skipped[0].starts_with(&format!("key {:?}: ", "k".repeat(64))),
        "{skipped:?}"
    );
}
