//! `reencryption_due` of a record.

use haven_proto::data::v1::{ListRecordsRequest, RecordOrder};
use haven_testkit::Stack;
use uuid::Uuid;

use super::{delete, delete_request, get, list_all, store, update};
use crate::{superuser_sql::execute, test_device::Device};

/// Returns the ids of the records that are due for re-encryption, after listing them in every order.
async fn due_records(device: &Device) -> Vec<Uuid> {
    let mut lists = Vec::new();
    for (order, page_size) in [
        (RecordOrder::NewestFirst, 1),
        (RecordOrder::OldestFirst, 2),
        (RecordOrder::ByChange, 3),
    ] {
        let request = ListRecordsRequest {
            page_size,
            order: order.into(),
            reencryption_due: true,
            ..ListRecordsRequest::default()
        };
        let (records, _) = list_all(&device.client, request).await;
        assert!(records.iter().all(|record| record.reencryption_due));
        let ids = records.iter().map(|record| record.record_id.parse().unwrap());
        lists.push(ids.collect::<Vec<Uuid>>());
    }
    lists[0].reverse();
    assert_eq!(lists[0], lists[1]);
    assert_eq!(lists[0], lists[2]);
    lists.remove(0)
}

#[tokio::test]
async fn a_record_under_an_old_key_version_is_due_until_it_is_encrypted_again() {
    let stack = Stack::shared().await.unwrap();
    let mut device = Device::invent(stack).await.unwrap();
    let other = device.another().await.unwrap();
    let mut old = Vec::new();
    for _ in 0..4 {
        old.push(store(&device, "old").await);
        store(&other, "of the other device").await;
    }
    assert!(due_records(&device).await.is_empty());
    let rotate = format!(
        "UPDATE data.device_key SET key_version = 2 WHERE id = '{}'",
        device.id
    );
    execute(&stack.database, &rotate).await;
    device.key_version = 2;
    let new = store(&device, "new").await;
    assert_eq!(due_records(&device).await, old);
    for (id, expected) in [(old[0], true), (new, false)] {
        assert_eq!(get(&device.client, id).await.unwrap().reencryption_due, expected);
    }
    // The record can still be decrypted.
    let record = get(&device.client, old[0]).await.unwrap();
    assert_eq!(other.open(&record).unwrap(), "old");
    // Any device can encrypt it again; a deleted record is not due.
    update(&device.client, device.update(old[0], 1, "again").unwrap())
        .await
        .unwrap();
    update(&other.client, other.update(old[1], 1, "again").unwrap())
        .await
        .unwrap();
    delete(&device.client, delete_request(&device, old[2], 1))
        .await
        .unwrap();
    assert_eq!(due_records(&device).await, [old[3]]);
}

#[tokio::test]
async fn a_record_under_the_key_of_a_revoked_device_is_due() {
    let stack = Stack::shared().await.unwrap();
    let device = Device::invent(stack).await.unwrap();
    let lost = device.another().await.unwrap();
    let (hers, theirs) = (store(&lost, "lost").await, store(&device, "kept").await);
    let set = async |status: &str| {
        let sql = format!(
            "UPDATE data.device_key SET status = '{status}',
                 encrypted_master_key = CASE '{status}' WHEN 'revoked' THEN NULL ELSE encrypted_master_key END
             WHERE id = '{}'",
            lost.id
        );
        execute(&stack.database, &sql).await;
    };
    // A suspended device may become active again.
    set("suspended").await;
    assert!(due_records(&device).await.is_empty());
    set("revoked").await;
    assert_eq!(due_records(&device).await, [hers]);
    let record = get(&device.client, hers).await.unwrap();
    assert!(record.reencryption_due);
    assert_eq!(device.open(&record).unwrap(), "lost");
    update(&device.client, device.update(hers, 1, "found").unwrap())
        .await
        .unwrap();
    assert!(due_records(&device).await.is_empty());
    assert!(!get(&device.client, theirs).await.unwrap().reencryption_due);
}
