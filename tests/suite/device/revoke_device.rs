//! RevokeDevice.

use std::{
    slice::from_ref,
    sync::atomic::{AtomicBool, Ordering},
};

use haven_proto::data::v1::{DeviceStatus, GetRecordRequest, RevokeDeviceRequest};
use haven_testkit::{Stack, random};
use tokio::time::{Duration, timeout};
use uuid::Uuid;

use super::{
    counts, list_all, new_person, new_registration, register, revoke, revoke_request, rotate, rotate_request,
    suspend, suspend_request,
};
use crate::{
    retry::retry_call,
    status::{reason, violations},
    superuser_sql::scalar_by_id,
    test_device::Device,
};

#[tokio::test]
async fn a_revoked_device_cannot_be_used_again() {
    let stack = Stack::shared().await.unwrap();
    let device = Device::invent(stack).await.unwrap();
    let ada = device.client.clone();
    let record = random::uuid();
    let stored = device.create(record, "hello").unwrap();
    ada.cycle().create_record(stored).await.unwrap();
    let [before] = list_all(&ada).await.try_into().unwrap();
    let revoked = revoke(&ada, revoke_request(&before)).await.unwrap();
    assert_eq!(revoked.status(), DeviceStatus::Revoked);
    assert_eq!(revoked.encrypted_master_key, b"");
    assert_eq!(list_all(&ada).await, from_ref(&revoked));
    let kept: bool = scalar_by_id(
        &stack.database,
        device.id,
        "SELECT encrypted_master_key IS NOT NULL FROM data.device_key WHERE id = $1",
    )
    .await;
    assert!(!kept, "the wrapped master key must be deleted");
    assert_eq!(counts(stack, &revoked).await, "0 1 2");
    let another = device.create(random::uuid(), "hello").unwrap();
    let status = ada.cycle().create_record(another).await.unwrap_err();
    assert_eq!(reason(&status), "DEVICE_INACTIVE");
    let status = rotate(&ada, rotate_request(&revoked)).await.unwrap_err();
    assert_eq!(reason(&status), "DEVICE_INACTIVE");
    let status = suspend(&ada, suspend_request(&revoked)).await.unwrap_err();
    assert_eq!(reason(&status), "DEVICE_INACTIVE");
    assert_eq!(list_all(&ada).await, [revoked]);
    // A record of the revoked device stays, and has to be encrypted again by another device.
    let request = GetRecordRequest {
        record_id: record.to_string(),
        device_id: String::new(),
    };
    let record = ada
        .cycle()
        .get_record(request)
        .await
        .unwrap()
        .into_inner()
        .record
        .unwrap();
    assert!(record.reencryption_due);
    assert_eq!(device.open(&record).unwrap(), "hello");
}

#[tokio::test]
async fn revoking_a_revoked_device_changes_nothing() {
    let stack = Stack::shared().await.unwrap();
    let ada = new_person(stack).await;
    let device = register(&ada, new_registration()).await.unwrap();
    suspend(&ada, suspend_request(&device)).await.unwrap();
    let revoked = revoke(&ada, revoke_request(&device)).await.unwrap();
    assert_eq!(revoke(&ada, revoke_request(&device)).await.unwrap(), revoked);
    assert_eq!(list_all(&ada).await, [revoked]);
    assert_eq!(counts(stack, &device).await, "0 1 3");
}

#[tokio::test]
async fn a_retry_gets_the_first_answer() {
    let stack = Stack::shared().await.unwrap();
    let ada = new_person(stack).await;
    let device = register(&ada, new_registration()).await.unwrap();
    let other = register(&ada, new_registration()).await.unwrap();
    let request = revoke_request(&device);
    let revoked = revoke(&ada, request.clone()).await.unwrap();
    assert_eq!(revoke(&ada, request.clone()).await.unwrap(), revoked);
    let reused = RevokeDeviceRequest {
        device_id: other.device_id.clone(),
        ..request.clone()
    };
    let status = revoke(&ada, reused).await.unwrap_err();
    assert_eq!(reason(&status), "REQUEST_ID_REUSED");
    // Used by another RPC.
    let mut suspending = suspend_request(&other);
    suspending.request_id = request.request_id;
    let status = suspend(&ada, suspending).await.unwrap_err();
    assert_eq!(reason(&status), "REQUEST_ID_REUSED");
    assert_eq!(list_all(&ada).await, [revoked, other]);
    let status = revoke(&ada, RevokeDeviceRequest::default()).await.unwrap_err();
    let expected = ["request_id", "device_id"].map(|field| (field.to_owned(), "REQUIRED".to_owned()));
    assert_eq!(violations(&status), expected);
}

#[tokio::test]
async fn a_device_that_is_revoked_while_it_writes_keeps_what_it_wrote_before() {
    let stack = Stack::shared().await.unwrap();
    let device = Device::invent(stack).await.unwrap();
    let ada = device.client.clone();
    let [itself] = list_all(&ada).await.try_into().unwrap();
    let is_revoked = AtomicBool::new(false);
    // Creates records until the device is refused, and returns their ids.
    let write = async || {
        let mut written = Vec::<Uuid>::new();
        loop {
            let known = is_revoked.load(Ordering::SeqCst);
            let record = random::uuid();
            let request = device.create(record, "hello").unwrap();
            let mut cycle = ada.cycle();
            match retry_call(request, async |request| cycle.create_record(request).await).await {
                Ok(_) => assert!(!known, "a revoked device has written a record"),
                Err(status) => {
                    assert_eq!(reason(&status), "DEVICE_INACTIVE");
                    return written;
                }
            }
            written.push(record);
        }
    };
    let stop = async {
        let written = "SELECT count(*) FROM data.encrypted_cycle_data WHERE user_id = $1";
        crate::eventually::eventually("ten records are written", async || {
            scalar_by_id::<i64>(&stack.database, device.person.id, written).await >= 10
        })
        .await;
        revoke(&ada, revoke_request(&itself)).await.unwrap();
        is_revoked.store(true, Ordering::SeqCst);
    };
    let all = async { tokio::join!(write(), write(), write(), stop) };
    let (a, b, c, ()) = timeout(Duration::from_secs(120), all)
        .await
        .expect("the revoked device still writes");
    let written = [a, b, c].concat().len();
    let stored: String = scalar_by_id(
        &stack.database,
        device.person.id,
        "SELECT concat_ws(' ', count(*), max(change_number)) FROM data.encrypted_cycle_data WHERE user_id = $1",
    )
    .await;
    assert_eq!(
        stored,
        format!("{written} {written}"),
        "every answered record is stored, and no other"
    );
}
