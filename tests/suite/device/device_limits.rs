//! The limits on the number of a person's devices.

use futures_util::future::join_all;
use haven_testkit::Stack;
use tonic::Status;
use tonic_types::StatusExt;

use super::{
    counts, list_all, new_person, new_registration, register, revoke, revoke_request, rotate, rotate_request,
    suspend, suspend_request,
};
use crate::{
    status::{metadata, reason},
    superuser_sql::{execute, scalar_with},
};

/// Maximum number of devices of a person that are not revoked.
const MAX_DEVICES: usize = 10;

/// Fails unless `status` is a violated quota of devices with this limit and description.
fn assert_quota(status: &Status, limit: &str, expected: &str) {
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

/// Fails unless `status` is the quota of devices that are not revoked.
fn assert_ten_devices(status: &Status) {
    assert_quota(status, "10", "At most 10 devices that are not revoked");
}

/// Fails unless `status` is the quota of all devices.
fn assert_hundred_devices(status: &Status) {
    assert_quota(
        status,
        "100",
        "At most 100 devices in total, including revoked ones",
    );
}

#[tokio::test]
async fn a_person_has_at_most_ten_devices_that_are_not_revoked() {
    let stack = Stack::shared().await.unwrap();
    let ada = new_person(stack).await;
    let mut last = register(&ada, new_registration()).await.unwrap();
    let (ninth, mut requests) = (MAX_DEVICES - 1, Vec::new());
    for _ in 0..ninth {
        requests.push(new_registration());
        last = register(&ada, requests.last().unwrap().clone()).await.unwrap();
    }
    let request = new_registration();
    assert_ten_devices(&register(&ada, request.clone()).await.unwrap_err());
    // A suspended device counts.
    suspend(&ada, suspend_request(&last)).await.unwrap();
    assert_ten_devices(&register(&ada, request.clone()).await.unwrap_err());
    rotate(&ada, rotate_request(&last)).await.unwrap();
    assert_ten_devices(&register(&ada, request.clone()).await.unwrap_err());
    // A retry registers no other device, and another person has a limit of their own.
    for repeated in requests {
        register(&ada, repeated).await.unwrap();
    }
    register(&new_person(stack).await, new_registration())
        .await
        .unwrap();
    assert_eq!(list_all(&ada).await.len(), MAX_DEVICES);
    // A refused request may be sent again.
    let revoking = revoke_request(&last);
    for _ in 0..2 {
        revoke(&ada, revoking.clone()).await.unwrap();
        revoke(&ada, revoke_request(&last)).await.unwrap();
    }
    register(&ada, request).await.unwrap();
    assert_ten_devices(&register(&ada, new_registration()).await.unwrap_err());
}

#[tokio::test]
async fn a_person_has_at_most_a_hundred_devices_including_revoked_ones() {
    let stack = Stack::shared().await.unwrap();
    let ada = new_person(stack).await;
    let first = register(&ada, new_registration()).await.unwrap();
    let full = format!(
        "UPDATE data.change_counters SET devices = 99
         WHERE user_id = (SELECT user_id FROM data.device_key WHERE id = '{}')",
        first.device_id
    );
    execute(&stack.database, &full).await;
    let hundredth = register(&ada, new_registration()).await.unwrap();
    for device in [&first, &hundredth] {
        revoke(&ada, revoke_request(device)).await.unwrap();
        assert_hundred_devices(&register(&ada, new_registration()).await.unwrap_err());
    }
    assert_eq!(counts(stack, &first).await, "0 100 4");
}

#[tokio::test]
async fn concurrent_registrations_stay_within_the_limit() {
    let stack = Stack::shared().await.unwrap();
    let ada = new_person(stack).await;
    for _ in 0..MAX_DEVICES - 3 {
        register(&ada, new_registration()).await.unwrap();
    }
    let attempts = join_all((0..9).map(|_| register(&ada, new_registration()))).await;
    let refused: Vec<_> = attempts.into_iter().filter_map(Result::err).collect();
    assert_eq!(refused.len(), 6);
    refused.iter().for_each(assert_ten_devices);
    let listed = list_all(&ada).await;
    assert_eq!(listed.len(), MAX_DEVICES);
    assert_eq!(counts(stack, &listed[0]).await, "10 10 10");
}

#[tokio::test]
async fn concurrent_retries_of_the_last_registration_register_one_device() {
    let stack = Stack::shared().await.unwrap();
    let ada = new_person(stack).await;
    for _ in 0..MAX_DEVICES - 1 {
        register(&ada, new_registration()).await.unwrap();
    }
    let request = new_registration();
    let answers = join_all((0..9).map(|_| register(&ada, request.clone()))).await;
    let mut answers = answers.into_iter().map(Result::unwrap);
    let first = answers.next().unwrap();
    assert!(answers.all(|answer| answer == first));
    assert_eq!(counts(stack, &first).await, "10 10 10");
    let sql = "SELECT count(*) FROM data.requests
        WHERE user_id = (SELECT user_id FROM data.device_key WHERE id = $1)";
    let id: uuid::Uuid = first.device_id.parse().unwrap();
    assert_eq!(scalar_with::<i64, _>(&stack.database, sql, id).await, 10);
}
