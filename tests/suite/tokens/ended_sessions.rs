//! data refuses the tokens of an ended session before they expire.

use std::time::{Duration, Instant};

use haven_proto::identity::v1::SignOutRequest;
use haven_testkit::Stack;

use super::{
    append,
    issuers::{Issuers, SECRET, SHARED, claims, hs256, with},
};
use crate::{eventually::eventually, status::reason};

/// Time within which data has to refuse the tokens of a session that ended.
const MAX_DELAY: Duration = Duration::from_secs(60);

/// Returns whether data refuses `token` with SESSION_REVOKED.
async fn is_refused(stack: &Stack, token: &str) -> bool {
    match append(stack, token).await {
        Ok(_) => false,
        Err(status) => {
            assert_eq!(reason(&status), "SESSION_REVOKED");
            true
        }
    }
}

#[tokio::test]
async fn tokens_of_an_ended_session_are_refused_also_while_identity_is_down() {
    let issuers = Issuers::new();
    let stack = Stack::builder().variable("data", "TRUSTED_ISSUERS", issuers.setting());
    let mut stack = stack.start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let other = stack.anonymous().unwrap();
    let other = other.sign_in(&ada.email, &ada.password).await.unwrap();
    append(&stack, &ada.token).await.unwrap();

    let mut session = stack.user(&ada).unwrap().session();
    session.sign_out(SignOutRequest {}).await.unwrap();
    let began = Instant::now();
    eventually("data refuses the token", async || {
        is_refused(&stack, &ada.token).await
    })
    .await;
    assert!(began.elapsed() < MAX_DELAY, "{:?}", began.elapsed());
    append(&stack, &other.token).await.unwrap();
    // A session of another issuer may have the same id.
    let other_issuer = with(
        claims(SHARED, ada.id),
        "session_id",
        serde_json::json!(ada.session_id),
    );
    append(&stack, &hs256(None, SECRET.as_bytes(), &other_issuer))
        .await
        .unwrap();

    // While identity is down, data keeps its list of ended sessions. Without a list it accepts no token of identity.
    stack.identity.kill();
    assert!(is_refused(&stack, &ada.token).await);
    append(&stack, &other.token).await.unwrap();
    stack.data.kill();
    // It is not ready without a list, and answers nevertheless.
    stack.data.launch().unwrap();
    stack.data.alive().await.unwrap();
    for token in [&ada.token, &other.token] {
        let status = append(&stack, token).await.unwrap_err();
        assert_eq!(reason(&status), "DEPENDENCY_UNAVAILABLE");
    }
    append(&stack, &hs256(None, SECRET.as_bytes(), &claims(SHARED, ada.id)))
        .await
        .unwrap();
    stack.identity.start().await.unwrap();
    eventually("data has the list again", async || {
        append(&stack, &other.token).await.is_ok()
    })
    .await;
    assert!(is_refused(&stack, &ada.token).await);
}
