//! Invalid tokens of other issuers, and the problem that each refusal names.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use haven_testkit::random;
use serde_json::{Value, json};
use tonic::Code;
use uuid::Uuid;

use super::{
    append,
    issuers::{Issuers, PUBLIC, RSA, RSA_JWKS, SECRET, SHARED, claims, hs256, rsa_token, with},
};
use crate::status::{metadata, reason};

/// Replaces the claims of a token and keeps its signature.
fn with_claims(token: &str, claims: &Value) -> String {
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (header, _) = message.split_once('.').unwrap();
    format!(
        "{header}.{}.{signature}",
        URL_SAFE_NO_PAD.encode(claims.to_string())
    )
}

/// Returns a token without a signature.
fn unsigned(alg: &str, claims: &Value) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = part(json!({"alg": alg, "typ": "JWT", "kid": "k1"}));
    format!("{header}.{}.", part(claims.clone()))
}

#[tokio::test]
async fn an_invalid_token_is_refused_with_its_problem() {
    let issuers = Issuers::new();
    let stack = issuers.stack().await;
    let sub = random::uuid();
    let shared = |claims: &Value| hs256(None, SECRET.as_bytes(), claims);
    let public = |claims: &Value| issuers.es256(Some("k1"), claims);
    let now = chrono::Utc::now().timestamp();

    // Token, expected problem.
    let mut cases: Vec<(String, &str)> = Vec::new();
    for issuer in [SHARED, PUBLIC, RSA] {
        cases.push((unsigned("none", &claims(issuer, sub)), "ALGORITHM"));
        cases.push((unsigned("ES512", &claims(issuer, sub)), "ALGORITHM"));
    }
    cases.extend([
        // Algorithm of one issuer with the name of another.
        (shared(&claims(PUBLIC, sub)), "KEY_UNKNOWN"),
        (
            hs256(Some("k1"), SECRET.as_bytes(), &claims(PUBLIC, sub)),
            "ALGORITHM",
        ),
        (
            hs256(Some("r1"), SECRET.as_bytes(), &claims(RSA, sub)),
            "ALGORITHM",
        ),
        (public(&claims(SHARED, sub)), "ALGORITHM"),
        (issuers.es256(Some("r1"), &claims(RSA, sub)), "ALGORITHM"),
        (with_claims(rsa_token(), &claims(SHARED, sub)), "ALGORITHM"),
        // Public key used as a shared secret.
        (
            hs256(Some("k1"), issuers.point(), &claims(PUBLIC, sub)),
            "ALGORITHM",
        ),
        (
            hs256(Some("k1"), issuers.public_pem().as_bytes(), &claims(PUBLIC, sub)),
            "ALGORITHM",
        ),
        (
            hs256(Some("r1"), RSA_JWKS.as_bytes(), &claims(RSA, sub)),
            "ALGORITHM",
        ),
        // Keys that do not exist.
        (issuers.es256(Some("k9"), &claims(PUBLIC, sub)), "KEY_UNKNOWN"),
        (issuers.es256(Some("k2"), &claims(PUBLIC, sub)), "KEY_UNKNOWN"),
        (issuers.es256(None, &claims(PUBLIC, sub)), "KEY_UNKNOWN"),
        (public(&claims(RSA, sub)), "KEY_UNKNOWN"),
        // Signatures by other keys.
        (
            hs256(None, b"another secret of 32 bytes .....", &claims(SHARED, sub)),
            "SIGNATURE",
        ),
        (
            hs256(None, format!("{SECRET}\n").as_bytes(), &claims(SHARED, sub)),
            "SIGNATURE",
        ),
        (
            Issuers::new().es256(Some("k1"), &claims(PUBLIC, sub)),
            "SIGNATURE",
        ),
        (with_claims(rsa_token(), &claims(RSA, sub)), "SIGNATURE"),
        // Issuers that are not trusted.
        (public(&claims("https://abc.example", sub)), "ISSUER"),
        (shared(&claims("", sub)), "ISSUER"),
        (shared(&with(claims(SHARED, sub), "iss", json!(null))), "ISSUER"),
        (
            shared(&with(claims(SHARED, sub), "iss", json!([SHARED]))),
            "ISSUER",
        ),
        ("x".repeat(8193), "TOO_LONG"),
    ]);
    for (issuer, sign) in [
        (SHARED, &shared as &dyn Fn(&Value) -> String),
        (PUBLIC, &public as &dyn Fn(&Value) -> String),
    ] {
        let wrong = |name, value| sign(&with(claims(issuer, sub), name, value));
        cases.extend([
            (wrong("aud", json!("other")), "AUDIENCE"),
            (wrong("aud", json!(["other"])), "AUDIENCE"),
            (wrong("aud", json!(null)), "AUDIENCE"),
            (wrong("nbf", json!(now + 120)), "NOT_YET_VALID"),
            (wrong("iat", json!(now + 120)), "NOT_YET_VALID"),
            (wrong("role", json!("service_role")), "CLAIMS"),
            (wrong("role", json!("anon")), "CLAIMS"),
            (wrong("sub", json!("ada")), "CLAIMS"),
            (wrong("sub", json!(Uuid::nil())), "CLAIMS"),
            (wrong("exp", json!("tomorrow")), "CLAIMS"),
            (format!("{}=", sign(&claims(issuer, sub))), "MALFORMED"),
        ]);
    }
    for (token, problem) in cases {
        let status = append(&stack, &token).await.expect_err(problem);
        assert_eq!(status.code(), Code::Unauthenticated, "{token}");
        assert_eq!(
            (reason(&status).as_str(), metadata(&status, "problem").as_str()),
            ("TOKEN_INVALID", problem),
            "{token}"
        );
        assert!(
            !format!("{status:?}").contains(&token),
            "the token is in the error"
        );
    }

    for (issuer, sign) in [
        (SHARED, &shared as &dyn Fn(&Value) -> String),
        (PUBLIC, &public as &dyn Fn(&Value) -> String),
    ] {
        let late = with(claims(issuer, sub), "exp", json!(now - 1));
        let status = append(&stack, &sign(&late)).await.unwrap_err();
        assert_eq!(reason(&status), "TOKEN_EXPIRED");
        // Clocks of two providers may differ.
        let early = with(claims(issuer, sub), "nbf", json!(now + 30));
        let status = append(&stack, &sign(&early)).await.unwrap_err();
        assert_eq!(reason(&status), "ACCOUNT_NOT_READY", "the token is valid");
    }
}
