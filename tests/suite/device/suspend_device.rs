//! SuspendDevice: a suspended device can do nothing until its key is rotated.

use std::slice::from_ref;

use haven_proto::data::v1::{DeviceStatus, SuspendDeviceRequest};
use haven_testkit::{Stack, random};

use super::{
    counts, list_all, new_person, new_registration, register, revoke, revoke_request, rotate, rotate_request,
    suspend, suspend_request,
};
use crate::{
    status::{metadata, reason, violations},
    superuser_sql::scalar_by_id,
    test_device::Device,
};

#[tokio::test]
async fn a_suspended_device_cannot_write_until_its_key_is_rotated() {
    let stack = Stack::shared().await.unwrap();
    let mut device = Device::invent(stack).await.unwrap();
    let ada = device.client.clone();
    let [before] = list_all(&ada).await.try_into().unwrap();
    let suspended = suspend(&ada, suspend_request(&before)).await.unwrap();
    assert_eq!(suspended.status(), DeviceStatus::Suspended);
    assert_eq!(
        suspended.encrypted_master_key, before.encrypted_master_key,
        "the master key is kept for a device that is found again"
    );
    assert_eq!(list_all(&ada).await, from_ref(&suspended));
    let create = |device: &Device| device.create(random::uuid(), "hello").unwrap();
    let status = ada.cycle().create_record(create(&device)).await.unwrap_err();
    assert_eq!(reason(&status), "DEVICE_INACTIVE");
    let rotated = rotate(&ada, rotate_request(&suspended)).await.unwrap();
    assert_eq!((rotated.status(), rotated.key_version), (DeviceStatus::Active, 2));
    // A client with the old key gets KEY_VERSION_STALE.
    let status = ada.cycle().create_record(create(&device)).await.unwrap_err();
    assert_eq!(reason(&status), "KEY_VERSION_STALE");
    assert_eq!(metadata(&status, "current_key_version"), "2");
    device.key_version = 2;
    ada.cycle().create_record(create(&device)).await.unwrap();
}

#[tokio::test]
async fn a_suspended_device_does_not_hold_back_the_synced_number() {
    let stack = Stack::shared().await.unwrap();
    let ada = new_person(stack).await;
    let device = register(&ada, new_registration()).await.unwrap();
    let synced = "SELECT synced.number = 0 FROM data.users AS u,
        LATERAL (SELECT set_config('request.jwt.claims', jsonb_build_object('sub', u.id)::text, true)) AS claims,
        LATERAL (SELECT data.synced_number() AS number WHERE claims IS NOT NULL) AS synced
        WHERE u.id = (SELECT user_id FROM data.device_key WHERE id = $1)";
    let id = device.device_id.parse().unwrap();
    assert!(scalar_by_id::<bool>(&stack.database, id, synced).await);
    suspend(&ada, suspend_request(&device)).await.unwrap();
    assert!(!scalar_by_id::<bool>(&stack.database, id, synced).await);
}

#[tokio::test]
async fn suspending_a_suspended_device_changes_nothing() {
    let stack = Stack::shared().await.unwrap();
    let ada = new_person(stack).await;
    let device = register(&ada, new_registration()).await.unwrap();
    let suspended = suspend(&ada, suspend_request(&device)).await.unwrap();
    assert_eq!(suspend(&ada, suspend_request(&device)).await.unwrap(), suspended);
    assert_eq!(list_all(&ada).await, [suspended]);
    assert_eq!(
        counts(stack, &device).await,
        "1 1 2",
        "a call without effect is not audited"
    );
}

#[tokio::test]
async fn a_retry_gets_the_first_answer() {
    let stack = Stack::shared().await.unwrap();
    let ada = new_person(stack).await;
    let device = register(&ada, new_registration()).await.unwrap();
    let other = register(&ada, new_registration()).await.unwrap();
    let request = suspend_request(&device);
    let mut suspended = suspend(&ada, request.clone()).await.unwrap();
    assert_eq!(suspend(&ada, request.clone()).await.unwrap(), suspended);
    let rotated = rotate(&ada, rotate_request(&suspended)).await.unwrap();
    // The device is not suspended again. The master key of the first answer is not stored any more, so the answer has
    // none.
    suspended.encrypted_master_key.clear();
    assert_eq!(suspend(&ada, request.clone()).await.unwrap(), suspended);
    assert_eq!(list_all(&ada).await, [rotated.clone(), other.clone()]);
    let revoked = revoke(&ada, revoke_request(&rotated)).await.unwrap();
    assert_eq!(suspend(&ada, request.clone()).await.unwrap(), suspended);
    let reused = SuspendDeviceRequest {
        device_id: other.device_id.clone(),
        ..request
    };
    let status = suspend(&ada, reused).await.unwrap_err();
    assert_eq!(reason(&status), "REQUEST_ID_REUSED");
    assert_eq!(list_all(&ada).await, [revoked, other]);
}

#[tokio::test]
async fn every_violation_is_reported() {
    let stack = Stack::shared().await.unwrap();
    let ada = new_person(stack).await;
    let status = suspend(&ada, SuspendDeviceRequest::default()).await.unwrap_err();
    assert_eq!(reason(&status), "INVALID_FIELD");
    let expected = ["request_id", "device_id"].map(|field| (field.to_owned(), "REQUIRED".to_owned()));
    assert_eq!(violations(&status), expected);
}
