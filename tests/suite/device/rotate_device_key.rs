//! RotateDeviceKey: a rotation names the key version that it is based on.

use std::slice::from_ref;

use chrono::{DateTime, TimeDelta, Utc};
use haven_proto::data::v1::{DeviceStatus, RotateDeviceKeyRequest};
use haven_testkit::{Stack, random};

use super::{
    counts, list_all, new_person, new_registration, register, revoke, revoke_request, rotate, rotate_request,
    suspend, suspend_request,
};
use crate::{
    status::{metadata, reason, violations},
    superuser_sql::execute,
};

#[tokio::test]
async fn a_rotation_stores_the_next_key_version() {
    let stack = Stack::shared().await.unwrap();
    let ada = new_person(stack).await;
    let before = register(&ada, new_registration()).await.unwrap();
    let other = register(&ada, new_registration()).await.unwrap();
    let overdue = format!(
        "UPDATE data.device_key SET next_rotation_at = now() - interval '1 day', acknowledged_number = 7
         WHERE id IN ('{}', '{}')",
        before.device_id, other.device_id
    );
    execute(&stack.database, &overdue).await;
    let request = rotate_request(&before);
    let device = rotate(&ada, request.clone()).await.unwrap();
    assert_eq!((device.key_version, device.rotation_overdue), (2, false));
    assert_eq!(device.encrypted_master_key, request.encrypted_master_key);
    assert_eq!(device.key_derivation_path, "m/44'/0'/2'");
    assert_eq!(device.status(), DeviceStatus::Active);
    assert_eq!(
        (
            &device.device_id,
            device.platform,
            &device.app_version,
            device.create_time
        ),
        (
            &before.device_id,
            before.platform,
            &before.app_version,
            before.create_time
        )
    );
    assert_eq!(
        device.acknowledged_change_number, 7,
        "a rotation keeps the acknowledged number"
    );
    let due = device.next_rotation_time.unwrap();
    let due = DateTime::<Utc>::from_timestamp(due.seconds, due.nanos as u32).unwrap();
    let ninety_days = Utc::now() + TimeDelta::days(90);
    assert!(
        ninety_days - TimeDelta::minutes(2) < due && due <= ninety_days,
        "{due}"
    );
    let listed = list_all(&ada).await;
    assert_eq!(listed[0], device);
    assert_eq!(
        (listed[1].key_version, listed[1].rotation_overdue),
        (other.key_version, true)
    );
    let again = rotate(&ada, rotate_request(&device)).await.unwrap();
    assert_eq!(again.key_version, 3);
}

#[tokio::test]
async fn a_rotation_over_a_stale_version_is_refused() {
    let stack = Stack::shared().await.unwrap();
    let ada = new_person(stack).await;
    let device = register(&ada, new_registration()).await.unwrap();
    let rotated = rotate(&ada, rotate_request(&device)).await.unwrap();
    for expected_key_version in [1, 3, i32::MAX] {
        let request = RotateDeviceKeyRequest {
            expected_key_version,
            ..rotate_request(&device)
        };
        let status = rotate(&ada, request).await.unwrap_err();
        assert_eq!(reason(&status), "VERSION_CONFLICT");
        assert_eq!(metadata(&status, "current_version"), "2");
    }
    assert_eq!(list_all(&ada).await, [rotated]);
    assert_eq!(counts(stack, &device).await, "1 1 2");
}

#[tokio::test]
async fn a_device_of_another_person_is_not_found() {
    let stack = Stack::shared().await.unwrap();
    let (ada, bob) = (new_person(stack).await, new_person(stack).await);
    let device = register(&ada, new_registration()).await.unwrap();
    // Bob has no device in the first round, and one in the second.
    for _ in 0..2 {
        assert_eq!(
            reason(&rotate(&bob, rotate_request(&device)).await.unwrap_err()),
            "NOT_FOUND"
        );
        assert_eq!(
            reason(&suspend(&bob, suspend_request(&device)).await.unwrap_err()),
            "NOT_FOUND"
        );
        assert_eq!(
            reason(&revoke(&bob, revoke_request(&device)).await.unwrap_err()),
            "NOT_FOUND"
        );
        register(&bob, new_registration()).await.unwrap();
    }
    let unknown = RotateDeviceKeyRequest {
        device_id: random::uuid().to_string(),
        ..rotate_request(&device)
    };
    assert_eq!(reason(&rotate(&ada, unknown).await.unwrap_err()), "NOT_FOUND");
    assert_eq!(list_all(&ada).await, [device]);
}

#[tokio::test]
async fn a_retry_gets_the_first_answer() {
    let stack = Stack::shared().await.unwrap();
    let ada = new_person(stack).await;
    let device = register(&ada, new_registration()).await.unwrap();
    let request = rotate_request(&device);
    let second = rotate(&ada, request.clone()).await.unwrap();
    assert_eq!(rotate(&ada, request.clone()).await.unwrap(), second);
    let third = rotate(&ada, rotate_request(&second)).await.unwrap();
    assert_eq!(rotate(&ada, request.clone()).await.unwrap(), second);
    assert_eq!(list_all(&ada).await, from_ref(&third));
    let revoked = revoke(&ada, revoke_request(&third)).await.unwrap();
    assert_eq!(rotate(&ada, request.clone()).await.unwrap(), second);
    assert_eq!(list_all(&ada).await, [revoked]);
    for reused in [
        RotateDeviceKeyRequest {
            expected_key_version: 2,
            ..request.clone()
        },
        RotateDeviceKeyRequest {
            encrypted_master_key: vec![7; 64],
            ..request.clone()
        },
        RotateDeviceKeyRequest {
            key_derivation_path: "m".into(),
            ..request.clone()
        },
    ] {
        let status = rotate(&ada, reused).await.unwrap_err();
        assert_eq!(reason(&status), "REQUEST_ID_REUSED");
    }
}

#[tokio::test]
async fn every_violation_is_reported() {
    let stack = Stack::shared().await.unwrap();
    let ada = new_person(stack).await;
    let status = rotate(&ada, RotateDeviceKeyRequest::default()).await.unwrap_err();
    assert_eq!(reason(&status), "INVALID_FIELD");
    let expected = [
        "request_id",
        "device_id",
        "expected_key_version",
        "encrypted_master_key",
        "key_derivation_path",
    ];
    let expected = expected.map(|field| (field.to_owned(), "REQUIRED".to_owned()));
    assert_eq!(violations(&status), expected);
}
