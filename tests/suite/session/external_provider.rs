//! Sessions with `AUTH_PROVIDER=external`: Haven neither begins nor ends them.

use std::fs;

use haven_proto::identity::v1::{RevokeSessionRequest, SignOutRequest};
use haven_testkit::{Stack, random};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;

use super::{credentials, refresh, refused, sessions, sign_in};

const ISSUER: &str = "https://abc.example/auth/v1";
const SECRET: &str = "super-secret-jwt-token-with-at-least-32-characters";

#[tokio::test]
async fn sessions_of_an_external_provider_are_neither_begun_nor_ended() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    fs::write(&file, SECRET).unwrap();
    let stack = Stack::builder()
        .variable("identity", "AUTH_PROVIDER", "external")
        .variable(
            "identity",
            "TRUSTED_ISSUERS",
            format!("{ISSUER}=hs256:{}", file.display()),
        )
        .without("data")
        .start()
        .await
        .unwrap();
    let anonymous = stack.anonymous().unwrap();
    let attempt = sign_in(&anonymous, credentials("ada@example.org", "x")).await;
    assert_eq!(refused(attempt), "AUTH_PROVIDER_EXTERNAL");
    let token = format!("hrt_{}", "A".repeat(43));
    assert_eq!(
        refused(refresh(&anonymous, &token).await),
        "AUTH_PROVIDER_EXTERNAL"
    );

    let now = chrono::Utc::now().timestamp();
    for session_id in [json!(random::uuid()), json!(null)] {
        let claims = json!({
            "iss": ISSUER, "aud": "authenticated", "sub": random::uuid(), "role": "authenticated",
            "iat": now, "exp": now + 3600, "session_id": session_id,
        });
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let token = encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap();
        let client = anonymous.with_token(&token).unwrap();
        assert_eq!(
            refused(client.session().sign_out(SignOutRequest {}).await),
            "AUTH_PROVIDER_EXTERNAL"
        );
        assert_eq!(sessions(&stack, &token).await.unwrap(), []);
        let request = RevokeSessionRequest {
            session_id: random::uuid().to_string(),
        };
        assert_eq!(
            refused(client.session().revoke_session(request).await),
            "NOT_FOUND"
        );
    }
}
