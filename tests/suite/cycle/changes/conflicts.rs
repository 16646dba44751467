//! Conflicts: changes that lost a race are kept until a device settles them, also when the record changes or is deleted.

use haven_proto::data::v1::{ChangeOutcome, ConflictResolution, SyncStatus};
use haven_testkit::Stack;

use super::{
    decrypt_conflict, get_record, open_conflicts, outcomes, push, resolve, settle_request, two_versions,
};
use crate::{cycle::last_change_number, status::reason, test_device::Device};

#[tokio::test]
async fn a_conflict_outlives_later_changes_of_its_record() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let tablet = phone.another().await.unwrap();
    let id = two_versions(&phone).await;
    push(&tablet, vec![tablet.put(id, 1, "the tablet's").unwrap()]).await;
    let kept = open_conflicts(&phone, Some(id)).await;
    assert_eq!(kept.len(), 1);
    // A later change of the record settles no conflict, even if it has the content that lost.
    let results = push(&tablet, vec![tablet.put(id, 2, "the tablet's").unwrap()]).await;
    assert_eq!(outcomes(&results), [(ChangeOutcome::Applied, 3)]);
    assert_eq!(
        get_record(&phone, id).await.unwrap().sync_status(),
        SyncStatus::Conflict
    );
    let results = push(&phone, vec![phone.delete(id, 3)]).await;
    assert_eq!(outcomes(&results), [(ChangeOutcome::Applied, 4)]);
    assert_eq!(open_conflicts(&phone, Some(id)).await, kept);
    assert_eq!(decrypt_conflict(&phone, &kept[0]).unwrap(), "the tablet's");
}

#[tokio::test]
async fn an_update_over_a_stale_version_is_refused_and_makes_no_conflict() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let id = two_versions(&phone).await;
    let mut cycle = phone.client.cycle();
    let stale = phone.update(id, 1, "another two").unwrap();
    let status = cycle.update_record(stale).await.unwrap_err();
    assert_eq!(reason(&status), "VERSION_CONFLICT");
    assert_eq!(open_conflicts(&phone, None).await, []);
    assert_eq!(
        get_record(&phone, id).await.unwrap().sync_status(),
        SyncStatus::Pending
    );
}

#[tokio::test]
async fn a_deletion_that_lost_and_is_repeated_is_kept_once() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let tablet = phone.another().await.unwrap();
    let id = two_versions(&phone).await;
    let first = push(&tablet, vec![tablet.delete(id, 1)]).await;
    assert_eq!(outcomes(&first), [(ChangeOutcome::Conflict, 2)]);
    for _ in 0..3 {
        let again = push(&tablet, vec![tablet.delete(id, 1)]).await;
        assert_eq!(again, first);
    }
    // An equal deletion by another device is a conflict of its own.
    let other = push(&phone, vec![phone.delete(id, 1)]).await;
    assert_ne!(other[0].conflict_id, first[0].conflict_id);
    let kept = open_conflicts(&phone, Some(id)).await;
    let devices: Vec<_> = kept.iter().map(|one| one.device_id.clone()).collect();
    assert_eq!(devices, [tablet.id.to_string(), phone.id.to_string()]);
    assert!(
        kept.iter()
            .all(|one| one.crypto_envelope.is_none() && one.local_time.is_some())
    );
}

#[tokio::test]
async fn a_deletion_that_was_settled_and_is_repeated_opens_no_conflict() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let tablet = phone.another().await.unwrap();
    for resolution in [ConflictResolution::Keep, ConflictResolution::Delete] {
        let id = two_versions(&phone).await;
        let first = push(&tablet, vec![tablet.delete(id, 1)]).await;
        let conflict = first[0].conflict_id.as_str();
        let request = settle_request(&phone, id, 2, &[conflict], resolution);
        resolve(&phone, request).await.unwrap();
        let before = last_change_number(stack, &phone).await;
        for _ in 0..2 {
            let again = push(&tablet, vec![tablet.delete(id, 1)]).await;
            assert_eq!(again, first);
        }
        assert_eq!(open_conflicts(&phone, Some(id)).await, []);
        assert_eq!(last_change_number(stack, &phone).await, before);
    }
}

#[tokio::test]
async fn a_deletion_that_lost_with_its_base_stays_lost_when_repeated_alone() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let tablet = phone.another().await.unwrap();
    let id = two_versions(&phone).await;
    // The tablet means to delete its own version 2, not the phone's.
    let changes = vec![tablet.put(id, 1, "the tablet's").unwrap(), tablet.delete(id, 2)];
    let first = push(&tablet, changes).await;
    assert_eq!(outcomes(&first), [(ChangeOutcome::Conflict, 2); 2]);
    let again = push(&tablet, vec![tablet.delete(id, 2)]).await;
    assert_eq!(again, first[1..]);
    assert_eq!(get_record(&phone, id).await.unwrap().version, 2);
    assert_eq!(open_conflicts(&phone, Some(id)).await.len(), 2);
    // Once both are settled, the deletion is still recognized as the old one although the record has the same version.
    let both: Vec<_> = first.iter().map(|one| one.conflict_id.as_str()).collect();
    let request = settle_request(&phone, id, 2, &both, ConflictResolution::Keep);
    resolve(&phone, request).await.unwrap();
    let again = push(&tablet, vec![tablet.delete(id, 2)]).await;
    assert_eq!(again, first[1..]);
    assert_eq!(get_record(&phone, id).await.unwrap().version, 2);
}

#[tokio::test]
async fn conflicts_of_another_person_cannot_be_seen_or_made() {
    let stack = Stack::shared().await.unwrap();
    let (ada, bob) = (
        Device::invent(stack).await.unwrap(),
        Device::invent(stack).await.unwrap(),
    );
    let id = two_versions(&ada).await;
    push(&ada, vec![ada.put(id, 1, "late").unwrap()]).await;
    // Another person's record with the same id is another record.
    let results = push(&bob, vec![bob.put(id, 0, "bob's").unwrap()]).await;
    assert_eq!(outcomes(&results), [(ChangeOutcome::Applied, 1)]);
    assert_eq!(open_conflicts(&bob, None).await, []);
    assert_eq!(open_conflicts(&bob, Some(id)).await, []);
    assert_eq!(open_conflicts(&ada, Some(id)).await.len(), 1);
    // A device of another person is not accepted either.
    let request = super::push_request(&bob, vec![ada.put(id, 2, "three").unwrap()]);
    let mut cycle = ada.client.cycle();
    let foreign = haven_proto::data::v1::PushChangesRequest {
        changes: vec![ada.delete(id, 2)],
        ..request
    };
    let status = cycle.push_changes(foreign).await.unwrap_err();
    assert_eq!(reason(&status), "NOT_FOUND");
    assert_eq!(get_record(&ada, id).await.unwrap().version, 2);
}
