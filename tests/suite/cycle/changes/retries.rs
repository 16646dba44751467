//! Retries of PushChanges and ResolveConflict under the same request id, one after the other and concurrently.

use futures_util::future::join_all;
use haven_proto::data::v1::{ChangeOutcome, ConflictResolution, PushChangesRequest, ResolveConflictRequest};
use haven_testkit::{Stack, random};

use super::{
    atomic_push_request, get_record, open_conflicts, outcomes, push, push_request, replace_request, resolve,
    send, settle_request, two_versions,
};
use crate::{cycle::last_change_number, status::reason, superuser_sql::scalar_with, test_device::Device};

/// Number of concurrent calls.
const CROWD: usize = 10;

#[tokio::test]
async fn a_retried_push_gets_the_first_answer() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let (a, b) = (two_versions(&phone).await, random::uuid());
    let changes = vec![
        phone.put(a, 1, "late").unwrap(),
        phone.put(b, 0, "new").unwrap(),
        phone.delete(random::uuid(), 1),
        phone.delete(b, 1),
    ];
    let request = push_request(&phone, changes);
    let first = send(&phone, request.clone()).await.unwrap();
    let expected = [
        (ChangeOutcome::Conflict, 2),
        (ChangeOutcome::Applied, 1),
        (ChangeOutcome::Refused, 0),
        (ChangeOutcome::Applied, 2),
    ];
    assert_eq!(outcomes(&first), expected);
    let numbers = last_change_number(stack, &phone).await;
    // Even when the record has changed, and the conflict is settled.
    let settled = settle_request(&phone, a, 2, &[&first[0].conflict_id], ConflictResolution::Delete);
    resolve(&phone, settled).await.unwrap();
    assert_eq!(send(&phone, request.clone()).await.unwrap(), first);
    assert_eq!(last_change_number(stack, &phone).await, numbers + 2);
    assert_eq!(open_conflicts(&phone, None).await, []);
    // The stored answer of a request has only outcomes, ids and numbers.
    let largest = "SELECT max(octet_length(answer::text)) FROM data.requests WHERE user_id = $1";
    assert!(scalar_with::<i32, _>(&stack.database, largest, phone.person.id).await < 1000);
}

#[tokio::test]
async fn a_request_id_cannot_be_reused_for_another_push() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let tablet = phone.another().await.unwrap();
    let id = random::uuid();
    let created = phone.create(random::uuid(), "created").unwrap();
    phone.client.cycle().create_record(created.clone()).await.unwrap();
    let request = push_request(&phone, vec![phone.put(id, 0, "one").unwrap()]);
    send(&phone, request.clone()).await.unwrap();
    for reused in [
        PushChangesRequest {
            changes: vec![phone.put(id, 1, "two").unwrap()],
            ..request.clone()
        },
        PushChangesRequest {
            mode: atomic_push_request(&phone, vec![]).mode,
            ..request.clone()
        },
        PushChangesRequest {
            device_id: tablet.id.to_string(),
            changes: vec![tablet.put(id, 0, "one").unwrap()],
            ..request.clone()
        },
        // Used by another RPC.
        PushChangesRequest {
            request_id: created.request_id.clone(),
            ..push_request(&phone, vec![phone.put(id, 1, "two").unwrap()])
        },
    ] {
        let status = send(&phone, reused).await.unwrap_err();
        assert_eq!(reason(&status), "REQUEST_ID_REUSED");
    }
    let kept = push(&phone, vec![phone.put(id, 0, "late").unwrap()]).await;
    let kept = kept[0].conflict_id.as_str();
    let request_id = request.request_id;
    let resolution = ResolveConflictRequest {
        request_id,
        ..settle_request(&phone, id, 1, &[kept], ConflictResolution::Keep)
    };
    let status = resolve(&phone, resolution).await.unwrap_err();
    assert_eq!(reason(&status), "REQUEST_ID_REUSED");
    assert_eq!(get_record(&phone, id).await.unwrap().version, 1);
    assert_eq!(open_conflicts(&phone, None).await.len(), 1);
}

#[tokio::test]
async fn concurrent_retries_of_a_push_are_applied_once() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    for all in [false, true] {
        let id = random::uuid();
        let mut changes = vec![
            phone.put(id, 0, "one").unwrap(),
            phone.put(id, 1, "two").unwrap(),
            phone.put(random::uuid(), 0, "other").unwrap(),
        ];
        if !all {
            changes.push(phone.put(id, 1, "late").unwrap());
        }
        changes.push(phone.delete(id, 2));
        let request = match all {
            true => atomic_push_request(&phone, changes),
            false => push_request(&phone, changes),
        };
        let before = last_change_number(stack, &phone).await;
        let answers = join_all((0..CROWD).map(|_| send(&phone, request.clone()))).await;
        let first = answers[0].as_ref().unwrap();
        let applied = first.iter().filter(|it| it.outcome() == ChangeOutcome::Applied);
        assert_eq!(applied.count(), if all { 4 } else { 3 });
        for answer in &answers {
            assert_eq!(answer.as_ref().unwrap(), first);
        }
        // Three changes, and then either a deletion, or two conflicts: the deletion is based on a change that lost.
        let numbers = last_change_number(stack, &phone).await;
        assert_eq!(numbers - before, if all { 4 } else { 7 });
    }
    assert_eq!(open_conflicts(&phone, None).await.len(), 2);
}

#[tokio::test]
async fn concurrent_retries_of_a_resolution_are_applied_once() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let id = two_versions(&phone).await;
    let late = async |seen| {
        let results = push(&phone, vec![phone.put(id, seen, "late").unwrap()]).await;
        results[0].conflict_id.clone()
    };
    let rounds = [
        (
            2,
            2,
            settle_request(&phone, id, 2, &[&late(1).await], ConflictResolution::Keep),
        ),
        (2, 3, replace_request(&phone, id, 2, &[&late(1).await], "three")),
        (
            3,
            4,
            settle_request(&phone, id, 3, &[&late(1).await], ConflictResolution::Delete),
        ),
        (4, 5, replace_request(&phone, id, 4, &[&late(1).await], "back")),
    ];
    for (before, after, request) in rounds {
        assert_eq!(request.expected_version, before);
        let answers = join_all((0..CROWD).map(|_| resolve(&phone, request.clone()))).await;
        let first = answers[0].as_ref().unwrap();
        assert_eq!(first.record.as_ref().unwrap().version, after);
        for answer in &answers {
            assert_eq!(answer.as_ref().unwrap(), first);
        }
        // A later retry gets the same answer, even when the record has changed.
        assert_eq!(resolve(&phone, request.clone()).await.as_ref().unwrap(), first);
        let other = ResolveConflictRequest {
            conflict_ids: vec![random::uuid().to_string()],
            ..request
        };
        let status = resolve(&phone, other).await.unwrap_err();
        assert_eq!(reason(&status), "REQUEST_ID_REUSED");
    }
    assert_eq!(open_conflicts(&phone, None).await, []);
    assert_eq!(
        phone.open(&get_record(&phone, id).await.unwrap()).unwrap(),
        "back"
    );
}
