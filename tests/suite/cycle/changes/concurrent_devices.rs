//! Concurrent pushes and resolutions: every change gets its own change number, and one of several conflicting ones is
//! applied.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use haven_proto::data::v1::{ChangeOutcome, ConflictResolution};
use haven_testkit::{Stack, random};

use super::{decrypt_conflict, get_record, open_conflicts, push, resolve, settle_request, two_versions};
use crate::{cycle::last_change_number, status::reason, test_device::Device};

/// Number of concurrent calls.
const CROWD: usize = 20;

#[tokio::test]
async fn one_of_many_concurrent_pushes_is_applied_and_the_others_become_conflicts() {
    let stack = Stack::start().await.unwrap();
    let phone = Device::invent(&stack).await.unwrap();
    let tablet = phone.another().await.unwrap();
    let id = random::uuid();
    push(&phone, vec![phone.put(id, 0, "one").unwrap()]).await;
    let pushes = (0..CROWD).map(|i| {
        let device = if i % 2 == 0 { &phone } else { &tablet };
        async move {
            push(device, vec![device.put(id, 1, &i.to_string()).unwrap()])
                .await
                .remove(0)
        }
    });
    let results = join_all(pushes).await;
    let applied: Vec<_> = (0..CROWD)
        .filter(|i| results[*i].outcome() == ChangeOutcome::Applied)
        .collect();
    let [first] = applied.as_slice() else {
        panic!("exactly one push has to be applied: {applied:?}");
    };
    let held = get_record(&phone, id).await.unwrap();
    assert_eq!((held.version, phone.open(&held).unwrap()), (2, first.to_string()));
    let kept = open_conflicts(&phone, Some(id)).await;
    let contents: BTreeSet<_> = kept
        .iter()
        .map(|one| decrypt_conflict(&phone, one).unwrap())
        .collect();
    let expected = (0..CROWD).filter(|i| i != first).map(|i| i.to_string());
    assert_eq!(contents, expected.collect());
    assert_eq!(kept.len(), CROWD - 1);
    // The applied change takes one change number, each conflict takes two, and no number is given out twice.
    let numbers: BTreeSet<_> = results.iter().map(|result| result.change_number).collect();
    assert_eq!(numbers.len(), CROWD);
    let last = 2 + 2 * (CROWD as i64 - 1);
    assert_eq!(numbers.last(), Some(&last));
    assert_eq!(last_change_number(&stack, &phone).await, last);
}

#[tokio::test]
async fn one_of_many_concurrent_resolutions_settles_a_conflict() {
    let stack = Stack::start().await.unwrap();
    let phone = Device::invent(&stack).await.unwrap();
    let id = two_versions(&phone).await;
    let results = push(&phone, vec![phone.put(id, 1, "late").unwrap()]).await;
    let kept = [results[0].conflict_id.as_str()];
    let attempts = (0..CROWD).map(|i| {
        let request = match i % 2 {
            0 => settle_request(&phone, id, 2, &kept, ConflictResolution::Keep),
            _ => super::replace_request(&phone, id, 2, &kept, "three"),
        };
        resolve(&phone, request)
    });
    let (mut made, mut refused) = (Vec::new(), BTreeSet::new());
    for answer in join_all(attempts).await {
        match answer {
            Ok(answer) => made.push(answer.record.unwrap()),
            Err(status) => {
                refused.insert(reason(&status));
            }
        }
    }
    assert_eq!(made.len(), 1);
    // A resolution with REPLACE makes a version, so the others have a stale one; KEEP makes none, but the conflict is
    // settled.
    let expected = if made[0].version == 3 {
        "VERSION_CONFLICT"
    } else {
        "NOT_FOUND"
    };
    assert_eq!(refused, BTreeSet::from([expected.to_owned()]));
    assert_eq!(get_record(&phone, id).await.unwrap().version, made[0].version);
}
