//! The end of a watch: by its deadline, the server's shutdown, the device's status, the person's erasure, or a failure
//! of the database.

use std::time::Duration;

use haven_proto::data::v1::{
    EraseUserRequest, RegisterDeviceRequest, RevokeDeviceRequest, SuspendDeviceRequest, WatchChangesRequest,
};
use haven_testkit::{Stack, random};
use rustix::process::Signal;
use tokio::time::timeout;
use tonic::Request;

use super::{BEGINNING, LIMIT, Watcher, create, numbers, pull};
use crate::{
    eventually::eventually,
    metrics::Metrics,
    status::reason,
    test_device::{Device, registration},
};

#[tokio::test]
async fn a_watch_ends_at_the_clients_deadline() {
    let stack = Stack::start().await.unwrap();
    let phone = Device::invent(&stack).await.unwrap();
    let mut request = Request::new(WatchChangesRequest {
        device_id: phone.id.to_string(),
        cursor: String::new(),
    });
    request
        .metadata_mut()
        .insert("grpc-timeout", "700m".parse().unwrap());
    let answer = phone.client.cycle().watch_changes(request).await.unwrap();
    let mut watcher = Watcher::new(answer.into_inner());
    watcher.next().await.unwrap();
    assert_eq!(reason(&watcher.end().await), "DEADLINE");
}

#[tokio::test]
async fn a_server_that_stops_ends_watches_at_once_and_no_change_is_lost() {
    let mut stack = Stack::start().await.unwrap();
    let phone = Device::invent(&stack).await.unwrap();
    let mut watcher = Watcher::start(&phone, BEGINNING).await.unwrap();
    let (_, cursor) = watcher.next().await.unwrap();
    stack.data.signal(Signal::TERM);
    assert_eq!(reason(&watcher.end().await), "DRAINING");
    eventually("the service ends", async || stack.data.ended().is_some()).await;
    stack.data.start().await.unwrap();
    create(&phone, "a").await;
    let mut watcher = Watcher::start(&phone, &cursor).await.unwrap();
    assert_eq!(numbers(&watcher.next().await.unwrap().0), [1]);
}

#[tokio::test]
async fn the_watch_of_a_suspended_revoked_or_replaced_device_ends() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let (lost, stolen) = (phone.another().await.unwrap(), phone.another().await.unwrap());
    let replaced = phone.another().await.unwrap();
    let mut watchers = Vec::new();
    for device in [&lost, &stolen, &replaced] {
        let mut watcher = Watcher::start(device, BEGINNING).await.unwrap();
        watcher.next().await.unwrap();
        watchers.push(watcher);
    }
    let mut devices = phone.client.device();
    let suspension = SuspendDeviceRequest {
        device_id: lost.id.to_string(),
        request_id: random::uuid().to_string(),
    };
    devices.suspend_device(suspension).await.unwrap();
    let revocation = RevokeDeviceRequest {
        device_id: stolen.id.to_string(),
        request_id: random::uuid().to_string(),
    };
    devices.revoke_device(revocation).await.unwrap();
    let replacement = RegisterDeviceRequest {
        replace_device_id: replaced.id.to_string(),
        ..registration(&replaced.secret).unwrap()
    };
    devices.register_device(replacement).await.unwrap();
    create(&phone, "not for them").await;
    for (watcher, device) in watchers.iter_mut().zip([&lost, &stolen, &replaced]) {
        assert_eq!(reason(&watcher.end().await), "DEVICE_INACTIVE");
        assert_eq!(
            reason(&pull(device, BEGINNING).await.unwrap_err()),
            "DEVICE_INACTIVE"
        );
        let again = Watcher::start(device, BEGINNING).await.map(drop);
        assert_eq!(reason(&again.unwrap_err()), "DEVICE_INACTIVE");
    }
}

#[tokio::test]
async fn an_erasure_ends_a_watch() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let others = Device::invent(stack).await.unwrap();
    create(&phone, "a").await;
    let mut watcher = Watcher::start(&phone, BEGINNING).await.unwrap();
    watcher.next().await.unwrap();
    let mut untouched = Watcher::start(&others, BEGINNING).await.unwrap();
    untouched.next().await.unwrap();
    let request = EraseUserRequest {
        user_id: phone.person.id.to_string(),
        request_id: random::uuid().to_string(),
    };
    let identity = stack.service("identity").unwrap();
    identity.person().erase_user(request).await.unwrap();
    assert_eq!(reason(&watcher.end().await), "ACCOUNT_ERASED");
    assert_eq!(
        reason(&pull(&phone, BEGINNING).await.unwrap_err()),
        "ACCOUNT_ERASED"
    );
    create(&others, "b").await;
    assert_eq!(numbers(&untouched.next().await.unwrap().0), [1]);
}

#[tokio::test]
async fn a_watch_stops_polling_when_its_client_disconnects() {
    let stack = Stack::start().await.unwrap();
    let phone = Device::invent(&stack).await.unwrap();
    let in_flight = async || {
        let metrics = Metrics::read(stack.data.listeners.metrics).await;
        metrics.sum("haven_rpc_in_flight", &[]).unwrap()
    };
    let reads = async || {
        let metrics = Metrics::read(stack.data.listeners.metrics).await;
        let reads = [("transaction", "ReadChanges")];
        metrics
            .sum("haven_db_transaction_seconds_count", &reads)
            .unwrap_or_default()
    };
    let mut watchers = Vec::new();
    for _ in 0..5 {
        // A device has one watch.
        let device = phone.another().await.unwrap();
        watchers.push(Watcher::start(&device, BEGINNING).await.unwrap());
    }
    eventually("the watches poll", async || reads().await >= 15.0).await;
    assert!(in_flight().await >= 5.0);
    drop(watchers);
    eventually("the calls have ended", async || in_flight().await < 1.0).await;
    // A poll once a second would show within two seconds.
    let before = reads().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(reads().await, before);
}

#[tokio::test]
async fn a_database_failure_ends_a_watch_with_a_reason_to_retry() {
    let mut stack = Stack::builder().own_cluster().start().await.unwrap();
    let phone = Device::invent(&stack).await.unwrap();
    let mut watcher = Watcher::start(&phone, BEGINNING).await.unwrap();
    let (_, cursor) = watcher.next().await.unwrap();
    stack.cluster().unwrap().kill();
    assert_eq!(reason(&watcher.end().await), "DEPENDENCY_UNAVAILABLE");
    stack.cluster().unwrap().resume().await.unwrap();
    let request = phone.create(random::uuid(), "a").unwrap();
    eventually("the record is stored", async || {
        let mut cycle = phone.client.cycle();
        cycle.create_record(request.clone()).await.is_ok()
    })
    .await;
    // A crash begins no new history: the cursor stays valid.
    let watching = timeout(LIMIT, Watcher::start(&phone, &cursor)).await.unwrap();
    assert_eq!(numbers(&watching.unwrap().next().await.unwrap().0), [1]);
}

/// Covers a device that reconnects behind a proxy: the server cannot see that the older watch is dead.
#[tokio::test]
async fn a_new_watch_of_a_device_replaces_its_older_one() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let laptop = phone.another().await.unwrap();
    let mut untouched = Watcher::start(&laptop, BEGINNING).await.unwrap();
    untouched.next().await.unwrap();
    let mut watcher = Watcher::start(&phone, BEGINNING).await.unwrap();
    // More often than a person may have watches, and at once.
    for _ in 0..20 {
        watcher.next().await.unwrap();
        let newer = Watcher::start(&phone, BEGINNING).await.unwrap();
        let ended = watcher.end().await;
        assert_eq!(
            (ended.code(), reason(&ended)),
            (tonic::Code::Cancelled, "CANCELLED".into())
        );
        watcher = newer;
    }
    watcher.next().await.unwrap();
    create(&laptop, "a").await;
    assert_eq!(numbers(&watcher.next().await.unwrap().0), [1]);
    assert_eq!(numbers(&untouched.next().await.unwrap().0), [1]);
}
