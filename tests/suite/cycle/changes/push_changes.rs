//! PushChanges in the mode INDEPENDENT: changes are applied in order and once each, and every one has a result of its
//! own.

use haven_proto::{
    data::v1::{ChangeOutcome, ChangeResult, SyncStatus},
    errors::v1::Reason,
};
use haven_testkit::{Stack, random};

use super::{decrypt_conflict, get_record, open_conflicts, outcomes, push};
use crate::{cycle::last_change_number, status::reason, superuser_sql::scalar_with, test_device::Device};

#[tokio::test]
async fn changes_of_one_record_build_on_each_other() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let (a, b) = (random::uuid(), random::uuid());
    let changes = vec![
        phone.put(a, 0, "one").unwrap(),
        phone.put(b, 0, "other").unwrap(),
        phone.put(a, 1, "two").unwrap(),
        phone.put(a, 2, "three").unwrap(),
        phone.delete(b, 1),
    ];
    let results = push(&phone, changes).await;
    let applied = |version| (ChangeOutcome::Applied, version);
    let expected = [applied(1), applied(1), applied(2), applied(3), applied(2)];
    assert_eq!(outcomes(&results), expected);
    let numbers: Vec<_> = results.iter().map(|result| result.change_number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    for result in &results {
        assert_eq!(
            (result.conflict_id.as_str(), result.reason()),
            ("", Reason::Unspecified)
        );
    }
    let held = get_record(&phone, a).await.unwrap();
    assert_eq!((held.version, held.change_number), (3, 4));
    assert_eq!(phone.open(&held).unwrap(), "three");
    assert_eq!(reason(&get_record(&phone, b).await.unwrap_err()), "NOT_FOUND");
}

#[tokio::test]
async fn a_repeated_change_is_not_applied_again() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let (a, b) = (random::uuid(), random::uuid());
    let changes = vec![
        phone.put(a, 0, "one").unwrap(),
        phone.put(a, 1, "two").unwrap(),
        phone.put(b, 0, "other").unwrap(),
        phone.delete(b, 1),
    ];
    let first = push(&phone, changes.clone()).await;
    // Under another request id, with a new change at the end; and all of it twice in one push.
    let more = [changes.clone(), vec![phone.put(a, 2, "three").unwrap()]].concat();
    let more = [more.clone(), more].concat();
    let again = push(&phone, more).await;
    for (index, result) in again.iter().enumerate() {
        match first.get(index % 5) {
            Some(earlier) => {
                assert_eq!(result.outcome(), ChangeOutcome::AlreadyApplied, "{index}");
                let numbers = (earlier.version, earlier.change_number);
                assert_eq!((result.version, result.change_number), numbers, "{index}");
            }
            None => assert_eq!(result.version, 3),
        }
    }
    assert_eq!(again[4].outcome(), ChangeOutcome::Applied);
    assert_eq!(again[9].outcome(), ChangeOutcome::AlreadyApplied);
    assert_eq!((again[4].change_number, again[9].change_number), (5, 5));
    assert_eq!(
        phone.open(&get_record(&phone, a).await.unwrap()).unwrap(),
        "three"
    );
    assert_eq!(last_change_number(stack, &phone).await, 5);
    assert_eq!(open_conflicts(&phone, None).await, []);
}

#[tokio::test]
async fn a_change_over_a_stale_version_is_kept_as_a_conflict() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let tablet = phone.another().await.unwrap();
    let (a, b) = (random::uuid(), random::uuid());
    push(&phone, vec![phone.put(a, 0, "one").unwrap()]).await;
    push(&tablet, vec![tablet.put(a, 1, "the tablet's").unwrap()]).await;
    let changes = vec![
        phone.put(a, 1, "the phone's").unwrap(),
        phone.put(b, 0, "something else").unwrap(),
        // The base of this change was not applied. Another change made the version 2 that exists.
        phone.put(a, 2, "the phone's next").unwrap(),
    ];
    let results = push(&phone, changes.clone()).await;
    let conflict = |version| (ChangeOutcome::Conflict, version);
    assert_eq!(
        outcomes(&results),
        [conflict(2), (ChangeOutcome::Applied, 1), conflict(2)]
    );
    // A conflict takes a change number of its own, and its record the next one.
    let numbers: Vec<_> = results.iter().map(|result| result.change_number).collect();
    assert_eq!(numbers, [4, 5, 7]);
    let held = get_record(&phone, a).await.unwrap();
    assert_eq!((held.version, held.change_number), (2, 7));
    assert_eq!(held.sync_status(), SyncStatus::Conflict);
    assert_eq!(phone.open(&held).unwrap(), "the tablet's");
    let kept = open_conflicts(&tablet, None).await;
    let actual: Vec<_> = kept
        .iter()
        .map(|one| (one.base_version, decrypt_conflict(&tablet, one)))
        .collect();
    let expected = [
        (1, Some("the phone's".to_owned())),
        (2, Some("the phone's next".to_owned())),
    ];
    assert_eq!(actual, expected);
    let ids: Vec<_> = kept.iter().map(|one| one.conflict_id.as_str()).collect();
    assert_eq!(ids, [&results[0].conflict_id, &results[2].conflict_id]);
    for (one, change) in kept.iter().zip([&changes[0], &changes[2]]) {
        assert_eq!(one.device_id, phone.id.to_string());
        assert_eq!(one.record_id, a.to_string());
        assert_eq!(one.local_time, change.local_time);
        assert_eq!(one.crypto_envelope, change.crypto_envelope);
        assert_eq!(one.settle_time, None);
    }
    // Repeated under another request id: the answers are the same, and no conflict is kept twice.
    let again = push(&phone, changes).await;
    assert_eq!([&again[0], &again[2]], [&results[0], &results[2]]);
    assert_eq!(again[1].outcome(), ChangeOutcome::AlreadyApplied);
    assert_eq!(open_conflicts(&tablet, None).await, kept);
}

#[tokio::test]
async fn the_second_creation_of_a_record_is_a_conflict() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let tablet = phone.another().await.unwrap();
    let id = random::uuid();
    push(&phone, vec![phone.put(id, 0, "the phone's").unwrap()]).await;
    let results = push(&tablet, vec![tablet.put(id, 0, "the tablet's").unwrap()]).await;
    assert_eq!(outcomes(&results), [(ChangeOutcome::Conflict, 1)]);
    let kept = open_conflicts(&phone, Some(id)).await;
    assert_eq!(kept[0].base_version, 0);
    assert_eq!(decrypt_conflict(&phone, &kept[0]).unwrap(), "the tablet's");
}

#[tokio::test]
async fn of_a_change_and_a_deletion_the_first_wins_and_the_second_is_a_conflict() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let tablet = phone.another().await.unwrap();
    let (a, b) = (random::uuid(), random::uuid());
    let both = |device: &Device| vec![device.put(a, 0, "a").unwrap(), device.put(b, 0, "b").unwrap()];
    push(&phone, both(&phone)).await;
    // The tablet deletes `a` and changes `b`. Later the phone changes `a` and deletes `b`.
    push(
        &tablet,
        vec![tablet.delete(a, 1), tablet.put(b, 1, "b2").unwrap()],
    )
    .await;
    let changes = vec![phone.put(a, 1, "a2").unwrap(), phone.delete(b, 1)];
    let results = push(&phone, changes.clone()).await;
    let expected = [(ChangeOutcome::Deleted, 2), (ChangeOutcome::Conflict, 2)];
    assert_eq!(outcomes(&results), expected);
    let kept = open_conflicts(&phone, None).await;
    let actual: Vec<_> = kept.iter().map(|one| decrypt_conflict(&phone, one)).collect();
    assert_eq!(actual, [Some("a2".to_owned()), None]);
    assert_eq!(reason(&get_record(&phone, a).await.unwrap_err()), "NOT_FOUND");
    let held = get_record(&phone, b).await.unwrap();
    assert_eq!(held.sync_status(), SyncStatus::Conflict);
    assert_eq!(phone.open(&held).unwrap(), "b2");
    // Both are repeated. A deletion has no nonce, and is recognized nevertheless.
    let again = push(&phone, changes).await;
    assert_eq!(outcomes(&again), expected);
    let ids = |results: &[ChangeResult]| {
        results
            .iter()
            .map(|result| result.conflict_id.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&again), ids(&results));
    assert_eq!(open_conflicts(&phone, None).await, kept);
    // Deleting a deleted record makes no conflict.
    let results = push(&phone, vec![phone.delete(a, 1)]).await;
    assert_eq!(outcomes(&results), [(ChangeOutcome::Deleted, 2)]);
    assert_eq!(
        (
            results[0].conflict_id.as_str(),
            open_conflicts(&phone, None).await
        ),
        ("", kept)
    );
}

#[tokio::test]
async fn an_invalid_change_is_refused_and_the_others_are_applied() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let (a, b, unknown) = (random::uuid(), random::uuid(), random::uuid());
    let first = phone.put(a, 0, "one").unwrap();
    push(&phone, vec![first.clone()]).await;
    let mut nonce_reused = phone.put(b, 0, "another").unwrap();
    nonce_reused.crypto_envelope = first.crypto_envelope.clone();
    let newer = Device {
        key_version: 2,
        ..phone.clone()
    };
    let changes = vec![
        nonce_reused,
        phone.delete(unknown, 1),
        phone.put(unknown, 3, "something").unwrap(),
        newer.put(unknown, 0, "under a key that there is not").unwrap(),
        // Based on the change before, which is refused.
        phone.put(unknown, 1, "more").unwrap(),
        phone.put(a, 1, "two").unwrap(),
    ];
    let results = push(&phone, changes).await;
    let actual: Vec<_> = results
        .iter()
        .map(|result| {
            (
                result.outcome(),
                result.reason(),
                result.version,
                result.current_key_version,
            )
        })
        .collect();
    let refused = |reason, current| (ChangeOutcome::Refused, reason, 0, current);
    let expected = [
        refused(Reason::NonceReused, 0),
        refused(Reason::NotFound, 0),
        refused(Reason::NotFound, 0),
        refused(Reason::EnvelopeInvalid, 1),
        refused(Reason::NotFound, 0),
        (ChangeOutcome::Applied, Reason::Unspecified, 2, 0),
    ];
    assert_eq!(actual, expected);
    assert!(
        results[..5]
            .iter()
            .all(|it| it.change_number == 0 && it.conflict_id.is_empty())
    );
    assert_eq!(results[5].change_number, 2);
    assert_eq!(open_conflicts(&phone, None).await, []);
    for id in [b, unknown] {
        assert_eq!(reason(&get_record(&phone, id).await.unwrap_err()), "NOT_FOUND");
    }
}

#[tokio::test]
async fn a_tombstone_keeps_the_local_time_and_no_content() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let id = random::uuid();
    let put = phone.put(id, 0, "one").unwrap();
    let kept_time = put.local_time.unwrap().seconds;
    push(&phone, vec![put]).await;
    let results = push(&phone, vec![phone.delete(id, 1)]).await;
    assert_eq!(outcomes(&results), [(ChangeOutcome::Applied, 2)]);
    let nothing = "SELECT num_nonnulls(encrypted_payload, nonce, salt, key_id)
        FROM data.encrypted_cycle_data WHERE user_id = $1";
    let (database, person) = (&stack.database, phone.person.id);
    assert_eq!(scalar_with::<i32, _>(database, nothing, person).await, 0);
    let seconds = "SELECT extract(epoch FROM date_trunc('second', local_timestamp))::bigint
        FROM data.encrypted_cycle_data WHERE user_id = $1";
    assert_eq!(scalar_with::<i64, _>(database, seconds, person).await, kept_time);
}
