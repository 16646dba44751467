//! How many devices a person may have.

use futures_util::future::join_all;
use haven_testkit::Stack;
use tonic::Status;
use tonic_types::StatusExt;

use super::{
    counts, list, new, register, revocation, revoke, rotate, rotation, somebody, suspend, suspension,
};
use crate::{
    status::{metadata, reason},
    superuser_sql::{execute, scalar},
};

/// At most how many that are not revoked.
const MOST: usize = 10;

fn is_over(status: &Status, limit: &str, expected: &str) {
    assert_eq!(reason(status), "QUOTA_EXCEEDED");
    assert_eq!(metadata(status, "limit"), limit);
    let details = status.get_error_details();
    let [quota] = details.quota_failure().unwrap().violations.as_slice() else {
        panic!("{status:?}");
    };
    assert_eq!(
        (quota.subject.as_str(), quota.description.as_str()),
        ("devices", expected)
    );
}

fn has_ten(status: &Status) {
    is_over(status, "10", "At most 10 devices that are not revoked");
}

fn had_a_hundred(status: &Status) {
    is_over(
        status,
        "100",
        "At most 100 devices in total, including revoked ones",
    );
}

#[tokio::test]
async fn a_person_has_ten_devices_that_are_not_revoked() {
    let stack = Stack::start().await.unwrap();
    let ada = somebody(&stack).await;
    let mut last = register(&ada, new()).await.unwrap();
    let (ninth, mut requests) = (MOST - 1, Vec::new());
    for _ in 0..ninth {
        requests.push(new());
        last = register(&ada, requests.last().unwrap().clone()).await.unwrap();
    }
    let request = new();
    has_ten(&register(&ada, request.clone()).await.unwrap_err());
    // One that is suspended is not gone.
    suspend(&ada, suspension(&last)).await.unwrap();
    has_ten(&register(&ada, request.clone()).await.unwrap_err());
    rotate(&ada, rotation(&last)).await.unwrap();
    has_ten(&register(&ada, request.clone()).await.unwrap_err());
    // A retry is no other device, and somebody else has room.
    for repeated in requests {
        register(&ada, repeated).await.unwrap();
    }
    register(&somebody(&stack).await, new()).await.unwrap();
    assert_eq!(list(&ada).await.len(), MOST);
    // Who was refused may ask again with the same request.
    let revoking = revocation(&last);
    for _ in 0..2 {
        revoke(&ada, revoking.clone()).await.unwrap();
        revoke(&ada, revocation(&last)).await.unwrap();
    }
    register(&ada, request).await.unwrap();
    has_ten(&register(&ada, new()).await.unwrap_err());
}

#[tokio::test]
async fn a_person_has_a_hundred_devices_in_all() {
    let stack = Stack::start().await.unwrap();
    let ada = somebody(&stack).await;
    let first = register(&ada, new()).await.unwrap();
    execute(&stack.database, "UPDATE data.change_counters SET devices = 99").await;
    let hundredth = register(&ada, new()).await.unwrap();
    for device in [&first, &hundredth] {
        revoke(&ada, revocation(device)).await.unwrap();
        had_a_hundred(&register(&ada, new()).await.unwrap_err());
    }
    assert_eq!(counts(&stack).await, "0 100 4");
}

#[tokio::test]
async fn of_a_crowd_as_many_as_there_is_room_for_are_registered() {
    let stack = Stack::start().await.unwrap();
    let ada = somebody(&stack).await;
    for _ in 0..MOST - 3 {
        register(&ada, new()).await.unwrap();
    }
    let attempts = join_all((0..9).map(|_| register(&ada, new()))).await;
    let refused: Vec<_> = attempts.into_iter().filter_map(Result::err).collect();
    assert_eq!(refused.len(), 6);
    refused.iter().for_each(has_ten);
    assert_eq!(list(&ada).await.len(), MOST);
    assert_eq!(counts(&stack).await, "10 10 10");
}

#[tokio::test]
async fn the_last_place_goes_to_one_request_however_often_it_is_sent() {
    let stack = Stack::start().await.unwrap();
    let ada = somebody(&stack).await;
    for _ in 0..MOST - 1 {
        register(&ada, new()).await.unwrap();
    }
    let request = new();
    let answers = join_all((0..9).map(|_| register(&ada, request.clone()))).await;
    let mut answers = answers.into_iter().map(Result::unwrap);
    let first = answers.next().unwrap();
    assert!(answers.all(|answer| answer == first));
    assert_eq!(counts(&stack).await, "10 10 10");
    let requests: i64 = scalar(&stack.database, "SELECT count(*) FROM data.requests").await;
    assert_eq!(requests, 10);
}
