//! Erasure of a person: no row is left, and no concurrent write deadlocks.

use std::time::Duration;

use futures_util::future::{join, join_all};
use haven_proto::data::v1::{EraseUserRequest, ListRecordsRequest};
use haven_testkit::{Person, Stack, random};
use sqlx::Connection;
use tonic::Status;

use super::{create, delete, delete_request, get, list_all, store, update};
use crate::{
    eventually::eventually,
    retry::retry_call,
    status::reason,
    superuser_sql::{scalar, scalar_with},
    test_device::Device,
};

/// Erases all data of `person`.
async fn erase(stack: &Stack, person: &Person) {
    let request = EraseUserRequest {
        user_id: person.id.to_string(),
        request_id: random::uuid().to_string(),
    };
    let mut people = stack.service("identity").unwrap().person();
    retry_call(request, async |request| people.erase_user(request).await)
        .await
        .unwrap();
}

/// Returns the number of rows that a person has of what devices encrypt, and of devices.
async fn count_rows(stack: &Stack, person: &Person) -> i64 {
    scalar_with(
        &stack.database,
        "SELECT (SELECT count(*) FROM data.encrypted_cycle_data WHERE user_id = $1)
             + (SELECT count(*) FROM data.envelope_nonces WHERE user_id = $1)
             + (SELECT count(*) FROM data.device_key WHERE user_id = $1)
             + (SELECT count(*) FROM data.change_counters WHERE user_id = $1)
             + (SELECT count(*) FROM data.requests WHERE user_id = $1)",
        person.id,
    )
    .await
}

#[tokio::test]
async fn an_erased_person_has_no_records() {
    let stack = Stack::shared().await.unwrap();
    let device = Device::invent(stack).await.unwrap();
    let id = store(&device, "hello").await;
    erase(stack, &device.person).await;
    let changes = [
        create(&device.client, device.create(id, "hello").unwrap())
            .await
            .map(drop),
        update(&device.client, device.update(id, 1, "goodbye").unwrap())
            .await
            .map(drop),
        delete(&device.client, delete_request(&device, id, 1))
            .await
            .map(drop),
    ];
    for status in changes {
        assert_eq!(reason(&status.unwrap_err()), "ACCOUNT_ERASED");
    }
    // GetRecord and ListRecords without a device do not look for the person.
    let status = get(&device.client, id).await.unwrap_err();
    assert_eq!(reason(&status), "NOT_FOUND");
    let (seen, _) = list_all(&device.client, ListRecordsRequest::default()).await;
    assert_eq!(seen, []);
    assert_eq!(count_rows(stack, &device.person).await, 0);
}

#[tokio::test]
async fn an_erasure_concurrent_with_writes_leaves_no_rows() {
    let stack = Stack::shared().await.unwrap();
    let mut erased = Vec::new();
    for _ in 0..5 {
        let device = Device::invent(stack).await.unwrap();
        let id = store(&device, "one").await;
        let writes = join_all((0..12).map(async |writer| match writer % 3 {
            0 => create(&device.client, device.create(random::uuid(), "hello").unwrap()).await,
            1 => update(&device.client, device.update(id, 1, "two").unwrap()).await,
            _ => delete(&device.client, delete_request(&device, id, 1)).await,
        }));
        let (written, ()) = join(writes, erase(stack, &device.person)).await;
        for status in written.into_iter().filter_map(Result::err) {
            let reason = reason(&status);
            assert!(
                ["ACCOUNT_ERASED", "NOT_FOUND", "VERSION_CONFLICT"].contains(&reason.as_str()),
                "{status:?}"
            );
        }
        erased.push(device.person);
    }
    for person in &erased {
        assert_eq!(count_rows(stack, person).await, 0);
    }
}

/// Starts `call` while a transaction holds the lock that an erasure takes first. Fails unless the erasure's other locks
/// can be taken then: the person's, the records' and the devices'.
async fn assert_locks_person_first<T>(stack: &Stack, call: impl Future<Output = Result<T, Status>>) {
    let mut superuser = stack.database.connect("postgres").await.unwrap();
    let mut erasing = superuser.begin().await.unwrap();
    sqlx::query("SELECT FROM data.change_counters FOR UPDATE")
        .execute(&mut *erasing)
        .await
        .unwrap();
    let erases = async {
        let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity
            WHERE datname = current_database() AND usename = 'data_app' AND wait_event_type = 'Lock')";
        eventually("the call waits", async || scalar(&stack.database, waits).await).await;
        for lock in [
            "SELECT FROM data.users FOR UPDATE NOWAIT",
            "SELECT FROM data.encrypted_cycle_data FOR UPDATE NOWAIT",
            "SELECT FROM data.device_key FOR UPDATE NOWAIT",
        ] {
            let locked = sqlx::query(lock).execute(&mut *erasing).await;
            locked.expect("the call holds a lock already");
        }
        erasing.commit().await.unwrap();
    };
    let (answer, ()) = tokio::time::timeout(Duration::from_secs(60), join(call, erases))
        .await
        .expect("the call and the erasure wait for each other");
    answer.map(drop).unwrap();
}

#[tokio::test]
async fn a_write_takes_the_persons_lock_before_any_other() {
    let stack = Stack::start().await.unwrap();
    let device = Device::invent(&stack).await.unwrap();
    let id = store(&device, "one").await;
    let request = device.create(random::uuid(), "hello").unwrap();
    assert_locks_person_first(&stack, create(&device.client, request)).await;
    let request = device.update(id, 1, "two").unwrap();
    assert_locks_person_first(&stack, update(&device.client, request)).await;
    assert_locks_person_first(&stack, delete(&device.client, delete_request(&device, id, 2))).await;
}
