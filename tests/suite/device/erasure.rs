//! Erasure of a person with their devices: every call that names a device gets ACCOUNT_ERASED.

use futures_util::future::{join, join_all};
use haven_proto::data::v1::{
    AcknowledgeChangesRequest, ConflictResolution, DeleteRecordRequest, EraseUserRequest,
    GetPreferencesRequest, GetRecordRequest, ListConflictsRequest, ListDevicesRequest, ListRecordsRequest,
    PullChangesRequest, PushChangesRequest, PushMode, ResolveConflictRequest, WatchChangesRequest,
};
use haven_testkit::{Client, Stack, random};
use sqlx::Connection;
use tonic::Status;

use super::{new_registration, register, revoke_request, rotate_request, suspend_request};
use crate::{
    eventually::eventually,
    preferences::put_request,
    retry::retry_call,
    status::reason,
    superuser_sql::{execute, scalar},
    test_device::Device,
};

/// Number of people who are erased while their devices are registered.
const ROUNDS: usize = 12;

/// Erases the person with the id `person`.
async fn erase(stack: &Stack, person: String) {
    let request = EraseUserRequest {
        user_id: person,
        request_id: random::uuid().to_string(),
    };
    let mut people = stack.service("identity").unwrap().person();
    retry_call(request, async |request| people.erase_user(request).await)
        .await
        .unwrap();
}

/// Makes a call of `$client`, and retries it until it is answered.
macro_rules! call {
    ($client:expr, $service:ident, $method:ident, $request:expr) => {{
        let mut service = $client.$service();
        let answer = retry_call($request, async |request| service.$method(request).await).await;
        (stringify!($method), answer.map(drop))
    }};
}

/// Returns the outcome of every RPC that names `device`.
async fn every_call(device: &Device, cursor: &str) -> Vec<(&'static str, Result<(), Status>)> {
    let client: &Client = &device.client;
    let (id, record) = (device.id.to_string(), random::uuid());
    let (record_id, request_id) = (record.to_string(), random::uuid().to_string());
    let (device_id, cursor) = (id.clone(), cursor.to_owned());
    let known = haven_proto::data::v1::Device {
        device_id: id.clone(),
        key_version: 1,
        ..haven_proto::data::v1::Device::default()
    };
    let records = ListRecordsRequest {
        device_id: id.clone(),
        ..ListRecordsRequest::default()
    };
    let get = GetRecordRequest {
        device_id: id.clone(),
        record_id: record_id.clone(),
    };
    let delete = DeleteRecordRequest {
        device_id: id.clone(),
        record_id: record_id.clone(),
        expected_version: 1,
        request_id: request_id.clone(),
    };
    let push = PushChangesRequest {
        device_id: id.clone(),
        changes: vec![device.put(record, 0, "hello").unwrap()],
        mode: PushMode::Independent.into(),
        request_id: request_id.clone(),
    };
    let conflicts = ListConflictsRequest {
        device_id: id.clone(),
        ..ListConflictsRequest::default()
    };
    let resolve = ResolveConflictRequest {
        device_id: id.clone(),
        record_id,
        expected_version: 1,
        conflict_ids: vec![random::uuid().to_string()],
        resolution: ConflictResolution::Keep.into(),
        request_id,
        ..ResolveConflictRequest::default()
    };
    let pull = PullChangesRequest {
        device_id: id.clone(),
        cursor: cursor.clone(),
    };
    let watch = WatchChangesRequest {
        device_id: id.clone(),
        cursor: cursor.clone(),
    };
    let acknowledge = AcknowledgeChangesRequest {
        device_id: id.clone(),
        cursor,
    };
    let devices = ListDevicesRequest {
        device_id: id,
        ..ListDevicesRequest::default()
    };
    vec![
        call!(
            client,
            cycle,
            create_record,
            device.create(record, "hello").unwrap()
        ),
        call!(
            client,
            cycle,
            update_record,
            device.update(record, 1, "bye").unwrap()
        ),
        call!(client, cycle, delete_record, delete),
        call!(client, cycle, get_record, get),
        call!(client, cycle, list_records, records),
        call!(client, cycle, push_changes, push),
        call!(client, cycle, pull_changes, pull),
        call!(client, cycle, watch_changes, watch),
        call!(client, cycle, acknowledge_changes, acknowledge),
        call!(client, cycle, list_conflicts, conflicts),
        call!(client, cycle, resolve_conflict, resolve),
        call!(
            client,
            preferences,
            get_preferences,
            GetPreferencesRequest { device_id }
        ),
        call!(
            client,
            preferences,
            put_preferences,
            put_request(device, 0, "dark").unwrap()
        ),
        call!(client, device, list_devices, devices),
        call!(client, device, rotate_device_key, rotate_request(&known)),
        call!(client, device, suspend_device, suspend_request(&known)),
        call!(client, device, revoke_device, revoke_request(&known)),
    ]
}

#[tokio::test]
async fn every_call_that_names_a_device_of_an_erased_person_is_refused() {
    let stack = Stack::shared().await.unwrap();
    let device = Device::invent(stack).await.unwrap();
    let begin = PullChangesRequest {
        device_id: device.id.to_string(),
        cursor: String::new(),
    };
    let mut cycle = device.client.cycle();
    let mut pulled = retry_call(begin, async |request| cycle.pull_changes(request).await)
        .await
        .unwrap();
    let cursor = pulled.message().await.unwrap().unwrap().cursor;
    // The device does not belong to the caller, who exists.
    let other = Device::invent(stack).await.unwrap();
    let stranger = Device {
        client: other.client.clone(),
        ..device.clone()
    };
    for (method, answer) in every_call(&stranger, "").await {
        match (method, answer) {
            // ListDevices accepts an unknown device, and AcknowledgeChanges needs a cursor of the caller's.
            ("list_devices", answer) => answer.unwrap(),
            ("acknowledge_changes", answer) => assert_eq!(reason(&answer.unwrap_err()), "INVALID_FIELD"),
            (_, answer) => assert_eq!(reason(&answer.unwrap_err()), "NOT_FOUND", "{method}"),
        }
    }
    erase(stack, device.person.id.to_string()).await;
    for (method, answer) in every_call(&device, &cursor).await {
        assert_eq!(reason(&answer.unwrap_err()), "ACCOUNT_ERASED", "{method}");
    }
}

#[tokio::test]
async fn a_registration_concurrent_with_an_erasure_is_refused() {
    let stack = Stack::start().await.unwrap();
    for round in 0..ROUNDS {
        let person = stack.person().await.unwrap();
        let client = stack.user(&person).unwrap();
        // A request is sent four times, so that some attempts run twice, together with more other requests than the
        // person may have devices.
        let mut requests = vec![new_registration(); 4];
        requests.extend((0..11).map(|_| new_registration()));
        let registering = join_all(requests.into_iter().map(|request| register(&client, request)));
        let (answers, ()) = join(registering, erase(&stack, person.id.to_string())).await;
        for status in answers.into_iter().filter_map(Result::err) {
            let reason = reason(&status);
            assert!(
                ["ACCOUNT_ERASED", "QUOTA_EXCEEDED"].contains(&reason.as_str()),
                "round {round}: {status:?}"
            );
        }
    }
    let left = "SELECT (SELECT count(*) FROM data.device_key) + (SELECT count(*) FROM data.change_counters)
        + (SELECT count(*) FROM data.requests)";
    assert_eq!(scalar::<i64>(&stack.database, left).await, 0);
}

/// The erasure runs between the two attempts of a registration: it waits for the first, and the second waits for it.
#[tokio::test]
async fn a_registration_is_refused_when_the_erasure_comes_before_its_second_attempt() {
    let stack = Stack::start().await.unwrap();
    let person = stack.person().await.unwrap();
    let client = stack.user(&person).unwrap();
    register(&client, new_registration()).await.unwrap();
    let full = "UPDATE data.change_counters SET live_devices = 10, devices = 10";
    execute(&stack.database, full).await;
    let lock = "SELECT FROM data.change_counters FOR UPDATE";
    let waiting = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let wait = async |count: i64| {
        eventually("sessions wait for the lock", async || {
            scalar::<i64>(&stack.database, waiting).await == count
        })
        .await;
    };
    let [mut first, mut second] = [
        stack.database.connect("postgres").await.unwrap(),
        stack.database.connect("postgres").await.unwrap(),
    ];
    let mut holding = first.begin().await.unwrap();
    sqlx::query(lock).execute(&mut *holding).await.unwrap();
    let erasing = async {
        wait(1).await;
        let mut erasing = second.begin().await.unwrap();
        let release = async {
            wait(2).await;
            holding.commit().await.unwrap();
        };
        let (locked, ()) = join(sqlx::query(lock).execute(&mut *erasing), release).await;
        locked.unwrap();
        wait(1).await;
        for step in [
            "INSERT INTO data.tombstones (user_id, erased_at, erased) SELECT id, now(), '{}' FROM data.users",
            "DELETE FROM data.users",
        ] {
            sqlx::query(step).execute(&mut *erasing).await.unwrap();
        }
        erasing.commit().await.unwrap();
    };
    let (answer, ()) = join(register(&client, new_registration()), erasing).await;
    assert_eq!(reason(&answer.unwrap_err()), "ACCOUNT_ERASED");
}

/// A violated foreign key is recognized as a missing person by its name.
#[tokio::test]
async fn foreign_keys_to_users_are_named_user_id_fkey() {
    let stack = Stack::shared().await.unwrap();
    let others = "SELECT count(*) FROM pg_constraint
        WHERE contype = 'f' AND connamespace = 'data'::regnamespace
            AND (confrelid = 'data.users'::regclass) <> (conname LIKE '%\\_user\\_id\\_fkey')";
    assert_eq!(scalar::<i64>(&stack.database, others).await, 0);
    let people =
        "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND confrelid = 'data.users'::regclass";
    assert!(scalar::<i64>(&stack.database, people).await > 10);
}
