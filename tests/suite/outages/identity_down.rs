//! identity is down: data accepts tokens with the signing keys that it has.

use std::time::{Duration, Instant};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use haven_proto::data::v1::ListMessagesRequest;
use haven_testkit::{Stack, service::grpc_services};
use tonic_health::pb::health_check_response::ServingStatus;

use super::{append, postgres_down::health, retryable};
use crate::{
    eventually::eventually,
    status::{metadata, reason},
};

/// Returns the token with the id of a key that does not exist.
fn with_unknown_key(token: &str) -> String {
    let (header, rest) = token.split_once('.').unwrap();
    let header = BASE64_URL_SAFE_NO_PAD.decode(header).unwrap();
    let mut header: serde_json::Value = serde_json::from_slice(&header).unwrap();
    header["kid"] = "unknown".into();
    format!("{}.{rest}", BASE64_URL_SAFE_NO_PAD.encode(header.to_string()))
}

#[tokio::test]
async fn data_serves_with_its_keys_and_fails_retryably_without_keys() {
    let mut stack = Stack::start().await.unwrap();
    let person = stack.person().await.unwrap();
    let ada = stack.user(&person).unwrap();
    append(&ada).await.unwrap();

    stack.identity.kill();
    append(&ada).await.unwrap();
    // A token with an unknown key makes data fetch the keys. The failed fetch does not discard the keys that data has.
    let unknown = ada.with_token(&with_unknown_key(&person.token)).unwrap();
    let status = append(&unknown).await.unwrap_err();
    assert_eq!(
        (reason(&status).as_str(), metadata(&status, "problem").as_str()),
        ("TOKEN_INVALID", "KEY_UNKNOWN")
    );
    let list = ListMessagesRequest::default();
    let page = ada.conversation().list_messages(list).await.unwrap();
    assert_eq!(page.into_inner().messages.len(), 2);

    // After a restart data has no keys and cannot fetch them.
    stack.data.kill();
    stack.data.launch().unwrap();
    eventually("data waits for the keys", async || {
        stack.data.output().unwrap().contains("waiting for the keys")
    })
    .await;
    let began = Instant::now();
    let status = append(&ada).await.unwrap_err();
    assert_eq!(retryable(&status), "DEPENDENCY_UNAVAILABLE");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());

    stack.identity.start().await.unwrap();
    stack.data.ready().await.unwrap();
    eventually("data has the keys", async || match append(&ada).await {
        Ok(_) => true,
        Err(status) => {
            assert_eq!(retryable(&status), "DEPENDENCY_UNAVAILABLE");
            false
        }
    })
    .await;
}

#[tokio::test]
async fn a_replica_of_data_without_keys_is_not_serving_and_one_with_keys_stays_serving() {
    let mut stack = Stack::builder()
        .without("identity")
        .without("data")
        .start()
        .await
        .unwrap();
    stack.data.launch().unwrap();
    eventually("data waits for the keys", async || {
        stack.data.output().unwrap().contains("waiting for the keys")
    })
    .await;
    for service in grpc_services("data").unwrap() {
        let status = health(&stack.data, &service).await.unwrap();
        assert_eq!(status, ServingStatus::NotServing, "{service}");
    }
    let alive = health(&stack.data, "").await.unwrap();
    assert_eq!(alive, ServingStatus::Serving, "the process is alive");

    stack.identity.start().await.unwrap();
    stack.data.ready().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    append(&ada).await.unwrap();

    stack.identity.kill();
    // Longer than three checks of the readiness, which is done every second.
    tokio::time::sleep(Duration::from_secs(4)).await;
    stack.data.ready().await.unwrap();
    append(&ada).await.unwrap();
}

#[tokio::test]
async fn without_tokens_data_needs_no_keys() {
    Stack::builder()
        .variable("data", "AUTH_MODE", "local")
        .without("identity")
        .start()
        .await
        .unwrap();
}
