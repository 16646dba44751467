//! Malformed access tokens, and tokens that identity did not sign.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use haven_proto::data::v1::ListMessagesRequest;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use prost::Message;
use rcgen::KeyPair;
use serde_json::{Value, json};
use tonic::{Status, metadata::MetadataMap};

use super::Served;
use crate::{
    raw_call::{self, headers},
    status::{metadata, reason},
};

const LIST: &str = "/haven.data.v1.ConversationService/ListMessages";

/// Calls ListMessages with these headers.
async fn list(served: &Served, headers: MetadataMap) -> Result<(), Status> {
    let connection = served.stack.anonymous().unwrap().connection("data");
    let body = ListMessagesRequest::default().encode_to_vec();
    raw_call::call(connection, LIST, headers, body).await.map(drop)
}

/// Decodes the header (0) or the claims (1) of a token.
fn part(token: &str, position: usize) -> Value {
    let part = token.split('.').nth(position).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// Encodes the header and the claims of a token, without a signature.
fn unsigned(header: &Value, claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", encode(header), encode(claims))
}

#[tokio::test]
async fn a_token_that_identity_did_not_sign_is_refused_with_its_problem() {
    let served = Served::shared().await;
    let valid = served.person.token.clone();
    let (header, claims) = (part(&valid, 0), part(&valid, 1));
    let (body, signature) = valid.rsplit_once('.').unwrap();
    let other = served.stack.person().await.unwrap().token;
    let (_, others_signature) = other.rsplit_once('.').unwrap();
    let with = |key: &str, value: Value| {
        let mut changed = header.clone();
        changed[key] = value;
        changed
    };
    // A key of the test with the id of identity's key, and a shared secret in place of a public key.
    let test_key = KeyPair::generate().unwrap().serialize_pem();
    let test_key = EncodingKey::from_ec_pem(test_key.as_bytes()).unwrap();
    let named = |algorithm, kid: &Value| Header {
        kid: kid.as_str().map(str::to_owned),
        ..Header::new(algorithm)
    };
    let kid = &header["kid"];
    let forged = encode(&named(Algorithm::ES256, kid), &claims, &test_key).unwrap();
    let unknown = encode(&named(Algorithm::ES256, &json!("k9")), &claims, &test_key).unwrap();
    let nameless = encode(&Header::new(Algorithm::ES256), &claims, &test_key).unwrap();
    let shared = encode(
        &named(Algorithm::HS256, kid),
        &claims,
        &EncodingKey::from_secret(b"x"),
    )
    .unwrap();

    for (token, problem) in [
        ("x".to_owned(), "MALFORMED"),
        (".".to_owned(), "MALFORMED"),
        ("..".to_owned(), "MALFORMED"),
        ("a.b.c".to_owned(), "MALFORMED"),
        (body.to_owned(), "MALFORMED"),
        (format!("{valid}.x"), "MALFORMED"),
        (format!("{body}."), "SIGNATURE"),
        (valid[..valid.len() - 2].to_owned(), "SIGNATURE"),
        (format!("{body}.{others_signature}"), "SIGNATURE"),
        (
            format!("{}.{signature}", unsigned(&header, &json!({"sub": "x"}))),
            "ISSUER",
        ),
        (
            format!(
                "{}.{signature}",
                unsigned(&header, &json!({"iss": claims["iss"]}))
            ),
            "SIGNATURE",
        ),
        (
            format!("{}.", unsigned(&with("alg", json!("none")), &claims)),
            "ALGORITHM",
        ),
        (
            format!("{}.{signature}", unsigned(&with("alg", json!(1)), &claims)),
            "ALGORITHM",
        ),
        (
            format!("{}.{signature}", unsigned(&json!([]), &claims)),
            "MALFORMED",
        ),
        (shared, "ALGORITHM"),
        (forged, "SIGNATURE"),
        (unknown, "KEY_UNKNOWN"),
        (nameless, "KEY_UNKNOWN"),
        ("x".repeat(9_000), "TOO_LONG"),
        (format!("{body}.{}", "A".repeat(7_000)), "SIGNATURE"),
    ] {
        let shown = &token[..token.len().min(40)];
        let called = list(&served, headers(&[("authorization", &format!("Bearer {token}"))])).await;
        let status = called.expect_err(shown);
        assert_eq!(reason(&status), "TOKEN_INVALID", "{shown}");
        assert_eq!(metadata(&status, "problem"), problem, "{shown}");
    }
    served.still_serves("forged tokens").await;
}

#[tokio::test]
async fn a_header_without_a_token_is_refused_with_its_problem() {
    let served = Served::shared().await;
    let valid = format!("Bearer {}", served.person.token);
    for (pairs, problem) in [
        (vec![], "MISSING"),
        (vec![("authorization", "")], "MALFORMED"),
        (vec![("authorization", "Bearer")], "MALFORMED"),
        (vec![("authorization", "Basic YTpi")], "MALFORMED"),
        (vec![("authorization", &*served.person.token)], "MALFORMED"),
        (
            vec![("authorization", &*valid), ("authorization", &*valid)],
            "MALFORMED",
        ),
        (
            vec![("x-user-id", "01890a5d-ac96-774b-bcce-b302099a8057")],
            "MISSING",
        ),
    ] {
        let status = list(&served, headers(&pairs)).await.unwrap_err();
        assert_eq!(reason(&status), "TOKEN_INVALID", "{}", pairs.len());
        assert_eq!(metadata(&status, "problem"), problem);
    }
    let mut no_ascii = MetadataMap::new().into_headers();
    let value = http::HeaderValue::from_bytes(b"Bearer \xff\xfe").unwrap();
    no_ascii.insert("authorization", value);
    let status = list(&served, MetadataMap::from_headers(no_ascii))
        .await
        .unwrap_err();
    assert_eq!(metadata(&status, "problem"), "MALFORMED");
    list(&served, headers(&[("authorization", &valid)]))
        .await
        .unwrap();
    list(
        &served,
        headers(&[("authorization", &valid.replace("Bearer", "bearer"))]),
    )
    .await
    .unwrap();
    served.still_serves("headers without a token").await;
}
