//! What lost a race: kept until it is settled, whatever else happens to its record.

use haven_proto::data::v1::{ChangeOutcome, ConflictResolution, SyncStatus};
use haven_testkit::Stack;

use super::{conflicts, opened, push, record, resolve, settling, told, two_versions};
use crate::{cycle::last_change_number, status::reason, test_device::Device};

#[tokio::test]
async fn a_conflict_outlives_what_happens_to_its_record() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let tablet = phone.another().await.unwrap();
    let id = two_versions(&phone).await;
    push(&tablet, vec![tablet.put(id, 1, "the tablet's").unwrap()]).await;
    let kept = conflicts(&phone, Some(id)).await;
    assert_eq!(kept.len(), 1);
    // Whoever changes the record has settled nothing by it: not even with the content that lost.
    let results = push(&tablet, vec![tablet.put(id, 2, "the tablet's").unwrap()]).await;
    assert_eq!(told(&results), [(ChangeOutcome::Applied, 3)]);
    assert_eq!(
        record(&phone, id).await.unwrap().sync_status(),
        SyncStatus::Conflict
    );
    let results = push(&phone, vec![phone.delete(id, 3)]).await;
    assert_eq!(told(&results), [(ChangeOutcome::Applied, 4)]);
    assert_eq!(conflicts(&phone, Some(id)).await, kept);
    assert_eq!(opened(&phone, &kept[0]).unwrap(), "the tablet's");
}

#[tokio::test]
async fn an_update_that_loses_is_refused_and_not_kept() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let id = two_versions(&phone).await;
    let mut cycle = phone.client.cycle();
    let stale = phone.update(id, 1, "another two").unwrap();
    let status = cycle.update_record(stale).await.unwrap_err();
    assert_eq!(reason(&status), "VERSION_CONFLICT");
    assert_eq!(conflicts(&phone, None).await, []);
    assert_eq!(
        record(&phone, id).await.unwrap().sync_status(),
        SyncStatus::Pending
    );
}

#[tokio::test]
async fn a_deletion_that_loses_comes_again_and_is_kept_once() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let tablet = phone.another().await.unwrap();
    let id = two_versions(&phone).await;
    let first = push(&tablet, vec![tablet.delete(id, 1)]).await;
    assert_eq!(told(&first), [(ChangeOutcome::Conflict, 2)]);
    for _ in 0..3 {
        let again = push(&tablet, vec![tablet.delete(id, 1)]).await;
        assert_eq!(again, first);
    }
    // Another device's is another change.
    let other = push(&phone, vec![phone.delete(id, 1)]).await;
    assert_ne!(other[0].conflict_id, first[0].conflict_id);
    let kept = conflicts(&phone, Some(id)).await;
    let devices: Vec<_> = kept.iter().map(|one| one.device_id.clone()).collect();
    assert_eq!(devices, [tablet.id.to_string(), phone.id.to_string()]);
    assert!(
        kept.iter()
            .all(|one| one.crypto_envelope.is_none() && one.local_time.is_some())
    );
}

#[tokio::test]
async fn a_deletion_that_lost_and_was_settled_comes_again_and_opens_nothing() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let tablet = phone.another().await.unwrap();
    for resolution in [ConflictResolution::Keep, ConflictResolution::Delete] {
        let id = two_versions(&phone).await;
        let first = push(&tablet, vec![tablet.delete(id, 1)]).await;
        let conflict = first[0].conflict_id.as_str();
        let request = settling(&phone, id, 2, &[conflict], resolution);
        resolve(&phone, request).await.unwrap();
        let before = last_change_number(stack, &phone).await;
        for _ in 0..2 {
            let again = push(&tablet, vec![tablet.delete(id, 1)]).await;
            assert_eq!(again, first);
        }
        assert_eq!(conflicts(&phone, Some(id)).await, []);
        assert_eq!(last_change_number(stack, &phone).await, before);
    }
}

#[tokio::test]
async fn a_deletion_that_was_held_back_comes_again_alone_and_stays_lost() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let tablet = phone.another().await.unwrap();
    let id = two_versions(&phone).await;
    // What the tablet means to delete is its own, and not what the phone wrote.
    let changes = vec![tablet.put(id, 1, "the tablet's").unwrap(), tablet.delete(id, 2)];
    let first = push(&tablet, changes).await;
    assert_eq!(told(&first), [(ChangeOutcome::Conflict, 2); 2]);
    let again = push(&tablet, vec![tablet.delete(id, 2)]).await;
    assert_eq!(again, first[1..]);
    assert_eq!(record(&phone, id).await.unwrap().version, 2);
    assert_eq!(conflicts(&phone, Some(id)).await.len(), 2);
    // When that is settled, and the record is still the same, it is the old one all the same.
    let both: Vec<_> = first.iter().map(|one| one.conflict_id.as_str()).collect();
    let request = settling(&phone, id, 2, &both, ConflictResolution::Keep);
    resolve(&phone, request).await.unwrap();
    let again = push(&tablet, vec![tablet.delete(id, 2)]).await;
    assert_eq!(again, first[1..]);
    assert_eq!(record(&phone, id).await.unwrap().version, 2);
}

#[tokio::test]
async fn nobody_sees_or_makes_a_conflict_of_somebody_else() {
    let stack = Stack::shared().await.unwrap();
    let (ada, bob) = (
        Device::invent(stack).await.unwrap(),
        Device::invent(stack).await.unwrap(),
    );
    let id = two_versions(&ada).await;
    push(&ada, vec![ada.put(id, 1, "late").unwrap()]).await;
    // The same id is another record of somebody else.
    let results = push(&bob, vec![bob.put(id, 0, "bob's").unwrap()]).await;
    assert_eq!(told(&results), [(ChangeOutcome::Applied, 1)]);
    assert_eq!(conflicts(&bob, None).await, []);
    assert_eq!(conflicts(&bob, Some(id)).await, []);
    assert_eq!(conflicts(&ada, Some(id)).await.len(), 1);
    // Nor is a device of somebody else one of the caller's.
    let request = super::pushing(&bob, vec![ada.put(id, 2, "three").unwrap()]);
    let mut cycle = ada.client.cycle();
    let foreign = haven_proto::data::v1::PushChangesRequest {
        changes: vec![ada.delete(id, 2)],
        ..request
    };
    let status = cycle.push_changes(foreign).await.unwrap_err();
    assert_eq!(reason(&status), "NOT_FOUND");
    assert_eq!(record(&ada, id).await.unwrap().version, 2);
}
