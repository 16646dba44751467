//! PullChanges: the entries after a cursor, each record in its last state.

use haven_proto::data::v1::{AcknowledgeChangesRequest, PullChangesRequest, SyncStatus, WatchChangesRequest};
use haven_testkit::Stack;

use super::{BEGINNING, answers, contents, create, delete, numbers, pull, push, update};
use crate::test_device::Device;

#[tokio::test]
async fn a_pull_returns_the_last_state_of_each_record_changed_after_the_cursor() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let laptop = phone.another().await.unwrap();
    let nothing = answers(&laptop, BEGINNING).await.unwrap();
    assert_eq!(nothing.len(), 1, "a pull has at least one answer");
    assert!(nothing[0].entries.is_empty());

    let (a, b) = (create(&phone, "a").await, create(&phone, "b").await);
    update(&laptop, a, 1, "a, again").await;
    let (entries, cursor) = pull(&laptop, &nothing[0].cursor).await.unwrap();
    assert_eq!(numbers(&entries), [2, 3]);
    let expected = [(b, 1, Some("b".to_owned())), (a, 2, Some("a, again".to_owned()))];
    assert_eq!(contents(&phone, &entries), expected);
    // A pull from the beginning returns the same.
    assert_eq!(pull(&phone, BEGINNING).await.unwrap().0, entries);

    assert!(pull(&laptop, &cursor).await.unwrap().0.is_empty());
    delete(&phone, b, 1).await;
    let (entries, cursor) = pull(&laptop, &cursor).await.unwrap();
    assert_eq!(contents(&phone, &entries), [(b, 2, None)]);
    let tombstone = entries[0].record.as_ref().unwrap();
    assert_eq!((entries[0].change_number, tombstone.change_number), (4, 4));
    assert!(tombstone.encrypted_payload.is_empty() && tombstone.crypto_envelope.is_none());
    assert!(!tombstone.reencryption_due);
    assert!(pull(&laptop, &cursor).await.unwrap().0.is_empty());
}

#[tokio::test]
async fn a_conflict_is_delivered_before_its_record() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let laptop = phone.another().await.unwrap();
    let record = create(&phone, "first").await;
    let (_, cursor) = pull(&phone, BEGINNING).await.unwrap();
    update(&laptop, record, 1, "second").await;
    let change = phone.put(record, 1, "the other second").unwrap();
    push(&phone, vec![change]).await.unwrap();
    let (entries, _) = pull(&laptop, &cursor).await.unwrap();
    assert_eq!(numbers(&entries), [3, 4]);
    assert!(entries[0].record.is_none() && entries[1].conflict.is_none());
    let conflict = entries[0].conflict.as_ref().unwrap();
    assert_eq!(
        (conflict.change_number, conflict.base_version, &conflict.record_id),
        (3, 1, &record.to_string())
    );
    assert_eq!(conflict.settle_time, None);
    // The conflict has the content as the device sent it, encrypted for the version that it was to be.
    let mut lost = entries[1].record.clone().unwrap();
    assert_eq!((lost.version, lost.sync_status()), (2, SyncStatus::Conflict));
    assert_eq!(laptop.open(&lost).unwrap(), "second");
    lost.encrypted_payload.clone_from(&conflict.encrypted_payload);
    lost.crypto_envelope.clone_from(&conflict.crypto_envelope);
    assert_eq!(laptop.open(&lost).unwrap(), "the other second");
}

#[tokio::test]
async fn every_answer_to_a_device_with_an_overdue_rotation_has_the_due_time() {
    const DUE: &str = "2026-02-03T04:05:06Z";
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let laptop = phone.another().await.unwrap();
    let (_, cursor) = pull(&phone, BEGINNING).await.unwrap();
    let sql = format!(
        "UPDATE data.device_key SET next_rotation_at = '{DUE}' WHERE id = '{}'",
        phone.id
    );
    crate::superuser_sql::execute(&stack.database, &sql).await;
    for (device, expected) in [(&phone, Some(DUE)), (&laptop, None)] {
        let mut cycle = device.client.cycle();
        let device_id = device.id.to_string();
        let pulled = PullChangesRequest {
            device_id: device_id.clone(),
            cursor: cursor.clone(),
        };
        let watched = WatchChangesRequest {
            device_id: device_id.clone(),
            cursor: cursor.clone(),
        };
        let acknowledged = AcknowledgeChangesRequest {
            device_id,
            cursor: cursor.clone(),
        };
        let pulled = cycle.pull_changes(pulled).await.unwrap();
        let watched = cycle.watch_changes(watched).await.unwrap();
        let acknowledged = cycle.acknowledge_changes(acknowledged).await.unwrap();
        for (rpc, metadata) in [
            ("PullChanges", pulled.metadata()),
            ("WatchChanges", watched.metadata()),
            ("AcknowledgeChanges", acknowledged.metadata()),
        ] {
            let due = metadata.get("haven-key-rotation-due-time");
            assert_eq!(due.map(|due| due.to_str().unwrap()), expected, "{rpc}");
        }
    }
}
