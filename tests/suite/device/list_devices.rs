//! ListDevices: pages and page tokens.

use haven_proto::data::v1::ListDevicesRequest;
use haven_testkit::{Client, Stack, random};
use tonic::Status;

use super::{list_all, new_person, new_registration, register, revoke, revoke_request};
use crate::{
    status::{reason, violations},
    superuser_sql::execute,
};

/// Returns the ids on a page, and the token of the next one.
async fn page(client: &Client, page_size: i32, page_token: &str) -> Result<(Vec<String>, String), Status> {
    let request = ListDevicesRequest {
        page_size,
        page_token: page_token.to_owned(),
        device_id: String::new(),
    };
    let page = client.device().list_devices(request).await?.into_inner();
    let ids = page.devices.into_iter().map(|device| device.device_id);
    Ok((ids.collect(), page.next_page_token))
}

#[tokio::test]
async fn pages_have_no_gap_and_no_repetition() {
    let stack = Stack::shared().await.unwrap();
    let ada = new_person(stack).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(register(&ada, new_registration()).await.unwrap().device_id);
    }
    // Devices of the same time are in the order of their ids.
    let same_time = format!(
        "UPDATE data.device_key SET created_at = '2026-01-01' WHERE id IN ('{}')",
        ids[..3].join("', '")
    );
    execute(&stack.database, &same_time).await;
    let all: Vec<_> = list_all(&ada)
        .await
        .into_iter()
        .map(|device| device.device_id)
        .collect();
    assert_eq!(all.len(), 5);
    for size in 1..=6 {
        let (mut seen, mut token, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let (ids, next) = page(&ada, size, &token).await.unwrap();
            assert!(ids.len() <= size as usize);
            seen.extend(ids);
            pages += 1;
            assert!(pages <= 5, "there are too many pages");
            if next.is_empty() {
                break;
            }
            token = next;
        }
        assert_eq!(seen, all, "{size} on a page");
        assert_eq!(pages, 5_usize.div_ceil(size as usize), "{size} on a page");
    }
}

#[tokio::test]
async fn a_revoked_device_keeps_its_position() {
    let stack = Stack::shared().await.unwrap();
    let ada = new_person(stack).await;
    let first = register(&ada, new_registration()).await.unwrap();
    let second = register(&ada, new_registration()).await.unwrap();
    let first = revoke(&ada, revoke_request(&first)).await.unwrap();
    assert_eq!(list_all(&ada).await, [first, second]);
}

#[tokio::test]
async fn a_page_token_is_valid_for_its_person_only() {
    let stack = Stack::shared().await.unwrap();
    let (ada, bob) = (new_person(stack).await, new_person(stack).await);
    for client in [&ada, &ada, &bob, &bob] {
        register(client, new_registration()).await.unwrap();
    }
    let (_, token) = page(&ada, 1, "").await.unwrap();
    assert_eq!(page(&ada, 2, &token).await.unwrap().0.len(), 1);
    for (client, token) in [(&bob, token.as_str()), (&ada, &token[1..]), (&ada, "x")] {
        let status = page(client, 1, token).await.unwrap_err();
        assert_eq!(reason(&status), "PAGE_TOKEN_INVALID");
    }
}

#[tokio::test]
async fn every_violation_is_reported() {
    let stack = Stack::shared().await.unwrap();
    let ada = new_person(stack).await;
    let request = ListDevicesRequest {
        page_size: -1,
        device_id: "x".into(),
        ..ListDevicesRequest::default()
    };
    let status = ada.device().list_devices(request).await.unwrap_err();
    assert_eq!(reason(&status), "INVALID_FIELD");
    let expected = [("page_size", "NEGATIVE"), ("device_id", "NOT_A_UUID")];
    let expected = expected.map(|(field, name)| (field.to_owned(), name.to_owned()));
    assert_eq!(violations(&status), expected);
    // The device that is named does not matter: the list is the person's.
    let request = ListDevicesRequest {
        device_id: random::uuid().to_string(),
        ..ListDevicesRequest::default()
    };
    ada.device().list_devices(request).await.unwrap();
}
