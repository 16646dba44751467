//! identity is down: whoever has a token goes on, because data keeps the keys that it has.

use std::time::{Duration, Instant};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use haven_proto::data::v1::ListMessagesRequest;
use haven_testkit::Stack;

use super::{append, retryable};
use crate::{
    eventually::eventually,
    status::{metadata, reason},
};

/// The same token, as if it were signed with a key that nobody knows.
fn with_unknown_key(token: &str) -> String {
    let (header, rest) = token.split_once('.').unwrap();
    let header = BASE64_URL_SAFE_NO_PAD.decode(header).unwrap();
    let mut header: serde_json::Value = serde_json::from_slice(&header).unwrap();
    header["kid"] = "unknown".into();
    format!("{}.{rest}", BASE64_URL_SAFE_NO_PAD.encode(header.to_string()))
}

#[tokio::test]
async fn data_serves_with_the_keys_that_it_has_and_waits_for_those_that_it_lacks() {
    let mut stack = Stack::start().await.unwrap();
    let person = stack.person().await.unwrap();
    let ada = stack.user(&person).unwrap();
    append(&ada).await.unwrap();

    stack.identity.kill();
    append(&ada).await.unwrap();
    // Somebody makes data ask identity for keys. That there is no answer is no reason to give up those that it has.
    let stranger = ada.with_token(&with_unknown_key(&person.token)).unwrap();
    let status = append(&stranger).await.unwrap_err();
    assert_eq!(
        (reason(&status).as_str(), metadata(&status, "problem").as_str()),
        ("TOKEN_INVALID", "KEY_UNKNOWN")
    );
    let list = ListMessagesRequest::default();
    let page = ada.conversation().list_messages(list).await.unwrap();
    assert_eq!(page.into_inner().messages.len(), 2);

    // A data that was started after that has no keys, and nobody to ask for them.
    stack.data.kill();
    stack.data.start().await.unwrap();
    let began = Instant::now();
    let status = append(&ada).await.unwrap_err();
    assert_eq!(retryable(&status), "DEPENDENCY_UNAVAILABLE");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());

    stack.identity.start().await.unwrap();
    eventually("data has the keys", async || match append(&ada).await {
        Ok(_) => true,
        Err(status) => {
            assert_eq!(retryable(&status), "DEPENDENCY_UNAVAILABLE");
            false
        }
    })
    .await;
}
