//! Repeated deletions. A deletion has no nonce, so it is recognized under any request id by its device, record, base
//! version and, where given, local time.

use haven_proto::data::v1::{Change, ChangeOutcome, ConflictResolution, DeleteRecordRequest, RecordVersion};
use haven_testkit::{Stack, random};
use tonic::Status;
use uuid::Uuid;

use super::{
    atomic_push_request, get_record, open_conflicts, outcomes, push, replace_request, resolve, retry_call,
    send, settle_request, two_versions,
};
use crate::{
    cycle::last_change_number,
    status::{metadata, reason},
    test_device::Device,
};

/// Returns two devices of a person, and a record of version 2.
async fn two_devices_and_a_record(stack: &Stack) -> (Device, Device, Uuid) {
    let phone = Device::invent(stack).await.unwrap();
    let tablet = phone.another().await.unwrap();
    let id = two_versions(&phone).await;
    (phone, tablet, id)
}

/// Calls DeleteRecord over the version `seen`, under a new request id.
async fn delete(device: &Device, record: Uuid, seen: i64) -> Result<RecordVersion, Status> {
    let request = DeleteRecordRequest {
        device_id: device.id.to_string(),
        record_id: record.to_string(),
        expected_version: seen,
        request_id: random::uuid().to_string(),
    };
    let mut cycle = device.client.cycle();
    let answer = retry_call(request, async |request| cycle.delete_record(request).await).await?;
    Ok(answer.record.unwrap())
}

/// Brings a deleted record back: `device` pushes a change over `seen`, which loses against the tombstone, and settles
/// it.
async fn bring_back(device: &Device, record: Uuid, seen: i64, tombstone: i64) {
    let late = push(device, vec![device.put(record, seen, "dear to me").unwrap()]).await;
    assert_eq!(outcomes(&late), [(ChangeOutcome::Deleted, tombstone)]);
    let request = replace_request(device, record, tombstone, &[&late[0].conflict_id], "dear to me");
    resolve(device, request).await.unwrap();
}

#[tokio::test]
async fn a_repeated_deletion_is_not_applied_again() {
    let stack = Stack::shared().await.unwrap();
    let (phone, tablet, id) = two_devices_and_a_record(stack).await;
    let first = push(&tablet, vec![tablet.delete(id, 2)]).await;
    assert_eq!(outcomes(&first), [(ChangeOutcome::Applied, 3)]);
    let again = async || {
        let before = last_change_number(stack, &phone).await;
        let deletion = || vec![tablet.delete(id, 2)];
        for results in [
            push(&tablet, deletion()).await,
            send(&tablet, atomic_push_request(&tablet, deletion()))
                .await
                .unwrap(),
        ] {
            assert_eq!(outcomes(&results), [(ChangeOutcome::AlreadyApplied, 3)]);
            assert_eq!(results[0].change_number, first[0].change_number);
            assert_eq!(results[0].conflict_id, "");
        }
        let version = delete(&tablet, id, 2).await.unwrap();
        assert_eq!(
            (version.version, version.change_number),
            (3, first[0].change_number)
        );
        assert_eq!(last_change_number(stack, &phone).await, before);
        assert_eq!(open_conflicts(&phone, None).await, []);
    };
    again().await;
    // An equal deletion by another device is another deletion.
    let other = push(&phone, vec![phone.delete(id, 2)]).await;
    assert_eq!(outcomes(&other), [(ChangeOutcome::Deleted, 3)]);
    // The record is brought back. The device that deleted it has not seen the new version.
    bring_back(&phone, id, 2, 3).await;
    again().await;
    assert_eq!(get_record(&phone, id).await.unwrap().version, 4);
    let last = push(&tablet, vec![tablet.delete(id, 4)]).await;
    assert_eq!(outcomes(&last), [(ChangeOutcome::Applied, 5)]);
    again().await;
}

#[tokio::test]
async fn a_deletion_by_delete_record_is_recognized_in_a_push() {
    let stack = Stack::shared().await.unwrap();
    let (phone, _, id) = two_devices_and_a_record(stack).await;
    let first = delete(&phone, id, 2).await.unwrap();
    let pushed = push(&phone, vec![phone.delete(id, 2)]).await;
    assert_eq!(outcomes(&pushed), [(ChangeOutcome::AlreadyApplied, 3)]);
    assert_eq!(pushed[0].change_number, first.change_number);
    bring_back(&phone, id, 2, 3).await;
    assert_eq!(delete(&phone, id, 2).await.unwrap(), first);
    assert_eq!(
        phone.open(&get_record(&phone, id).await.unwrap()).unwrap(),
        "dear to me"
    );
}

#[tokio::test]
async fn a_deletion_that_lost_is_kept_once_and_stays_lost_after_the_record_is_brought_back() {
    let stack = Stack::shared().await.unwrap();
    let (phone, tablet, id) = two_devices_and_a_record(stack).await;
    let first = push(&tablet, vec![tablet.delete(id, 1)]).await;
    assert_eq!(outcomes(&first), [(ChangeOutcome::Conflict, 2)]);
    let again = async || {
        for _ in 0..2 {
            assert_eq!(push(&tablet, vec![tablet.delete(id, 1)]).await, first);
        }
    };
    again().await;
    // DeleteRecord keeps no conflict, so it is decided each time.
    let status = delete(&tablet, id, 1).await.unwrap_err();
    assert_eq!(reason(&status), "VERSION_CONFLICT");
    assert_eq!(metadata(&status, "current_version"), "2");
    again().await;
    assert_eq!(open_conflicts(&phone, Some(id)).await.len(), 1);
    let conflict = first[0].conflict_id.as_str();
    let request = settle_request(&phone, id, 2, &[conflict], ConflictResolution::Delete);
    resolve(&phone, request).await.unwrap();
    again().await;
    bring_back(&phone, id, 2, 3).await;
    again().await;
    assert_eq!(get_record(&phone, id).await.unwrap().version, 4);
    assert_eq!(open_conflicts(&phone, None).await, []);
}

#[tokio::test]
async fn a_deletion_of_a_tombstone_does_not_delete_a_record_brought_back() {
    let stack = Stack::shared().await.unwrap();
    let (phone, tablet, id) = two_devices_and_a_record(stack).await;
    push(&phone, vec![phone.delete(id, 2)]).await;
    let first = push(&tablet, vec![tablet.delete(id, 2)]).await;
    assert_eq!(outcomes(&first), [(ChangeOutcome::Deleted, 3)]);
    assert_eq!(push(&tablet, vec![tablet.delete(id, 2)]).await, first);
    bring_back(&phone, id, 2, 3).await;
    assert_eq!(push(&tablet, vec![tablet.delete(id, 2)]).await, first);
    assert_eq!(get_record(&phone, id).await.unwrap().version, 4);
    assert_eq!(open_conflicts(&phone, None).await, []);
    let status = delete(&tablet, id, 2).await.unwrap_err();
    assert_eq!(reason(&status), "VERSION_CONFLICT");
}

#[tokio::test]
async fn a_settled_deletion_stays_lost_and_a_new_one_is_applied() {
    let stack = Stack::shared().await.unwrap();
    for settled_by_deleting in [false, true] {
        let (phone, tablet, id) = two_devices_and_a_record(stack).await;
        // The tablet means to delete its own version 2, not the phone's.
        let changes = vec![tablet.put(id, 1, "the tablet's").unwrap(), tablet.delete(id, 2)];
        let first = push(&tablet, changes.clone()).await;
        assert_eq!(outcomes(&first), [(ChangeOutcome::Conflict, 2); 2]);
        assert_eq!(push(&tablet, changes.clone()).await, first);
        let both: Vec<_> = first.iter().map(|one| one.conflict_id.as_str()).collect();
        if settled_by_deleting {
            // The tablet itself deletes the record by its resolution.
            let request = settle_request(&tablet, id, 2, &both, ConflictResolution::Delete);
            let answer = resolve(&tablet, request).await.unwrap();
            assert_eq!((answer.record.unwrap().version, answer.open_conflicts), (3, 0));
        } else {
            let request = settle_request(&phone, id, 2, &both, ConflictResolution::Keep);
            resolve(&phone, request).await.unwrap();
            // Together with its base it is recognized as the first one.
            assert_eq!(push(&tablet, changes).await, first);
            assert_eq!(get_record(&phone, id).await.unwrap().version, 2);
            // Alone as well: the resolution kept the record. A deletion with a local time is another one.
            let alone = push(&tablet, vec![tablet.delete(id, 2)]).await;
            assert_eq!(alone[0], first[1]);
            let with_local_time = vec![Change {
                local_time: tablet.put(id, 2, "").unwrap().local_time,
                ..tablet.delete(id, 2)
            }];
            assert_eq!(
                outcomes(&push(&tablet, with_local_time.clone()).await),
                [(ChangeOutcome::Applied, 3)]
            );
            assert_eq!(
                outcomes(&push(&tablet, with_local_time).await),
                [(ChangeOutcome::AlreadyApplied, 3)]
            );
        }
        assert_eq!(reason(&get_record(&phone, id).await.unwrap_err()), "NOT_FOUND");
        bring_back(&phone, id, 2, 3).await;
        // A device that deleted the record by its resolution gets that as the answer.
        let again = push(&tablet, vec![tablet.delete(id, 2)]).await;
        match settled_by_deleting {
            true => assert_eq!(outcomes(&again), [(ChangeOutcome::AlreadyApplied, 3)]),
            false => assert_eq!(again[0], first[1]),
        }
        assert_eq!(get_record(&phone, id).await.unwrap().version, 4);
    }
}
