//! Cursors of the feed: they belong to one person, and cannot be made up.

use haven_proto::data::v1::{AcknowledgeChangesRequest, PullChangesRequest, WatchChangesRequest};
use haven_testkit::{Stack, random};
use tonic::Status;

use super::{BEGINNING, Watcher, acknowledge, create, numbers, pull};
use crate::{
    status::{reason, violations},
    test_device::Device,
};

/// Returns how each RPC that takes a cursor refuses `cursor`.
async fn refusals(device: &Device, cursor: &str) -> [Status; 3] {
    [
        pull(device, cursor).await.map(drop).unwrap_err(),
        Watcher::start(device, cursor).await.map(drop).unwrap_err(),
        acknowledge(device, cursor).await.map(drop).unwrap_err(),
    ]
}

#[tokio::test]
async fn a_cursor_of_another_person_or_made_up_is_refused() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let laptop = phone.another().await.unwrap();
    let others = Device::invent(stack).await.unwrap();
    create(&phone, "a").await;
    let (_, cursor) = pull(&phone, BEGINNING).await.unwrap();
    for wrong in ["x", &cursor[1..], &format!("{cursor}A")] {
        for status in refusals(&phone, wrong).await {
            assert_eq!(reason(&status), "INVALID_FIELD");
            let expected = [("cursor".to_owned(), "NOT_A_CURSOR".to_owned())];
            assert_eq!(violations(&status), expected, "{wrong}");
        }
    }
    for status in refusals(&others, &cursor).await {
        assert_eq!(
            violations(&status),
            [("cursor".to_owned(), "NOT_A_CURSOR".to_owned())]
        );
    }
    // A cursor is valid for all devices of a person, and for every RPC of the feed.
    assert!(pull(&laptop, &cursor).await.unwrap().0.is_empty());
    let (_, watched) = Watcher::start(&laptop, &cursor)
        .await
        .unwrap()
        .next()
        .await
        .unwrap();
    create(&phone, "b").await;
    assert_eq!(numbers(&pull(&phone, &watched).await.unwrap().0), [2]);
    let answer = acknowledge(&laptop, &watched).await.unwrap();
    assert_eq!(answer.acknowledged_change_number, 1);
}

#[tokio::test]
async fn every_violation_is_reported_at_once() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let mut cycle = phone.client.cycle();
    let (device_id, cursor) = (String::from("phone"), String::from("x"));
    let pulled = cycle
        .pull_changes(PullChangesRequest {
            device_id: device_id.clone(),
            cursor: cursor.clone(),
        })
        .await
        .map(drop);
    let watched = cycle
        .watch_changes(WatchChangesRequest {
            device_id: device_id.clone(),
            cursor: cursor.clone(),
        })
        .await
        .map(drop);
    let acknowledged = cycle
        .acknowledge_changes(AcknowledgeChangesRequest { device_id, cursor })
        .await
        .map(drop);
    for status in [pulled, watched, acknowledged].map(Result::unwrap_err) {
        let expected = [("device_id", "NOT_A_UUID"), ("cursor", "NOT_A_CURSOR")];
        let expected = expected.map(|(field, name)| (field.to_owned(), name.to_owned()));
        assert_eq!(violations(&status), expected);
    }
    let nothing = AcknowledgeChangesRequest::default();
    let status = cycle.acknowledge_changes(nothing).await.unwrap_err();
    let expected = [("device_id", "REQUIRED"), ("cursor", "REQUIRED")];
    let expected = expected.map(|(field, name)| (field.to_owned(), name.to_owned()));
    assert_eq!(violations(&status), expected);
}

#[tokio::test]
async fn a_device_of_another_person_is_not_found() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let others = Device::invent(stack).await.unwrap();
    let (_, cursor) = pull(&phone, BEGINNING).await.unwrap();
    for id in [others.id, random::uuid()] {
        let unknown = Device { id, ..phone.clone() };
        for status in refusals(&unknown, &cursor).await {
            assert_eq!(reason(&status), "NOT_FOUND");
        }
    }
    // A person without any device gets the same reason.
    let person = stack.person().await.unwrap();
    let client = stack.user(&person).unwrap();
    let without_device = Device {
        person,
        client,
        ..phone.clone()
    };
    assert_eq!(
        reason(&pull(&without_device, BEGINNING).await.unwrap_err()),
        "NOT_FOUND"
    );
}
