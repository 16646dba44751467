//! PushChanges in the mode ATOMIC: all changes are applied, or none.

use haven_proto::{data::v1::ChangeOutcome, errors::v1::Reason};
use haven_testkit::{Stack, random};

use super::{atomic_push_request, get_record, open_conflicts, outcomes, push, push_request, send};
use crate::{cycle::last_change_number, status::reason, test_device::Device};

#[tokio::test]
async fn changes_are_all_applied_when_each_can_be() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let (a, b) = (random::uuid(), random::uuid());
    let changes = vec![
        phone.put(a, 0, "one").unwrap(),
        phone.put(b, 0, "other").unwrap(),
        phone.put(a, 1, "two").unwrap(),
        phone.delete(b, 1),
    ];
    let request = atomic_push_request(&phone, changes.clone());
    let results = send(&phone, request.clone()).await.unwrap();
    let applied = |version| (ChangeOutcome::Applied, version);
    assert_eq!(
        outcomes(&results),
        [applied(1), applied(1), applied(2), applied(2)]
    );
    assert_eq!(send(&phone, request).await.unwrap(), results);
    // Under another request id: all changes were applied before.
    let again = send(&phone, atomic_push_request(&phone, changes)).await.unwrap();
    assert!(
        again
            .iter()
            .all(|it| it.outcome() == ChangeOutcome::AlreadyApplied)
    );
    assert_eq!(last_change_number(stack, &phone).await, 4);
}

#[tokio::test]
async fn no_change_is_applied_when_one_cannot_be() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let tablet = phone.another().await.unwrap();
    let [a, b, c, d] = [(); 4].map(|()| random::uuid());
    let before = phone.put(d, 0, "of before").unwrap();
    push(
        &phone,
        vec![
            phone.put(a, 0, "one").unwrap(),
            phone.put(b, 0, "other").unwrap(),
            before.clone(),
        ],
    )
    .await;
    push(&tablet, vec![tablet.put(b, 1, "the tablet's").unwrap()]).await;
    let new = phone.put(c, 0, "new").unwrap();
    let changes = vec![
        phone.put(a, 1, "two").unwrap(),
        phone.put(a, 2, "three").unwrap(),
        phone.put(b, 1, "the phone's").unwrap(),
        new.clone(),
        // A repetition of the change before it.
        new,
        before,
        phone.delete(random::uuid(), 1),
        // A conflict although no conflict is stored.
        phone.put(a, 1, "another two").unwrap(),
    ];
    let results = send(&phone, atomic_push_request(&phone, changes.clone()))
        .await
        .unwrap();
    let held_back = |version| (ChangeOutcome::HeldBack, version);
    let expected = [
        held_back(1),
        held_back(1),
        (ChangeOutcome::Conflict, 2),
        held_back(0),
        held_back(0),
        (ChangeOutcome::AlreadyApplied, 1),
        (ChangeOutcome::Refused, 0),
        (ChangeOutcome::Conflict, 1),
    ];
    assert_eq!(outcomes(&results), expected);
    assert_eq!(results[6].reason(), Reason::NotFound);
    for (index, result) in results.iter().enumerate() {
        let number = if index == 5 { 3 } else { 0 };
        assert_eq!(
            (result.change_number, result.conflict_id.as_str()),
            (number, ""),
            "{index}"
        );
    }
    // No conflict is stored, and no change number is used.
    assert_eq!(open_conflicts(&phone, None).await, []);
    assert_eq!(last_change_number(stack, &phone).await, 4);
    let held = get_record(&phone, a).await.unwrap();
    assert_eq!((held.version, phone.open(&held).unwrap().as_str()), (1, "one"));
    assert_eq!(reason(&get_record(&phone, c).await.unwrap_err()), "NOT_FOUND");
    // No nonce is used by a push that was rolled back: in the mode INDEPENDENT every valid change is applied.
    let results = push(&phone, changes).await;
    let applied = |version| (ChangeOutcome::Applied, version);
    let expected = [
        applied(2),
        applied(3),
        (ChangeOutcome::Conflict, 2),
        applied(1),
        (ChangeOutcome::AlreadyApplied, 1),
        (ChangeOutcome::AlreadyApplied, 1),
        (ChangeOutcome::Refused, 0),
        (ChangeOutcome::Conflict, 3),
    ];
    assert_eq!(outcomes(&results), expected);
}

#[tokio::test]
async fn a_push_that_was_rolled_back_is_decided_again() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let tablet = phone.another().await.unwrap();
    let (a, b) = (random::uuid(), random::uuid());
    let changes = vec![phone.put(a, 0, "one").unwrap(), phone.put(b, 1, "two").unwrap()];
    let request = atomic_push_request(&phone, changes);
    let results = send(&phone, request.clone()).await.unwrap();
    let expected = [(ChangeOutcome::HeldBack, 0), (ChangeOutcome::Refused, 0)];
    assert_eq!(outcomes(&results), expected);
    // The push changed nothing, so its request id is free, and the push is decided again.
    push(&tablet, vec![tablet.put(b, 0, "one").unwrap()]).await;
    let results = send(&phone, request.clone()).await.unwrap();
    let expected = [(ChangeOutcome::Applied, 1), (ChangeOutcome::Applied, 2)];
    assert_eq!(outcomes(&results), expected);
    let other = push_request(&phone, vec![phone.delete(a, 1)]);
    let reused = haven_proto::data::v1::PushChangesRequest {
        request_id: request.request_id,
        ..other
    };
    assert_eq!(
        reason(&send(&phone, reused).await.unwrap_err()),
        "REQUEST_ID_REUSED"
    );
}
