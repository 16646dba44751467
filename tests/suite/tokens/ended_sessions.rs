//! Ended sessions: their tokens are refused before they expire.

use std::time::{Duration, Instant};

use haven_proto::identity::v1::SignOutRequest;
use haven_testkit::Stack;

use super::{
    append,
    issuers::{Issuers, SECRET, SHARED, claims, hs256, with},
};
use crate::{eventually::eventually, status::reason};

/// By when data has to refuse them.
const LATEST: Duration = Duration::from_secs(60);

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
async fn data_refuses_the_tokens_of_a_session_that_ended() {
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
    assert!(began.elapsed() < LATEST, "{:?}", began.elapsed());
    append(&stack, &other.token).await.unwrap();
    // A session of somebody else's may have the same id.
    let theirs = with(
        claims(SHARED, ada.id),
        "session_id",
        serde_json::json!(ada.session_id),
    );
    append(&stack, &hs256(None, SECRET.as_bytes(), &theirs))
        .await
        .unwrap();

    // What data knows, it keeps while identity is down; and what it does not know yet, it does not guess.
    stack.identity.kill();
    assert!(is_refused(&stack, &ada.token).await);
    append(&stack, &other.token).await.unwrap();
    stack.data.kill();
    stack.data.start().await.unwrap();
    for token in [&ada.token, &other.token] {
        let status = append(&stack, token).await.unwrap_err();
        assert_eq!(reason(&status), "DEPENDENCY_UNAVAILABLE");
    }
    append(&stack, &hs256(None, SECRET.as_bytes(), &claims(SHARED, ada.id)))
        .await
        .unwrap();
    stack.identity.start().await.unwrap();
    eventually("data knows again", async || {
        append(&stack, &other.token).await.is_ok()
    })
    .await;
    assert!(is_refused(&stack, &ada.token).await);
}
