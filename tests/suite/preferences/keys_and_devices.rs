//! The keys under which preferences are encrypted, and the devices that may get and put them.

use haven_proto::data::v1::{
    DeviceStatus, ExportDataRequest, GetPreferencesRequest, PutPreferencesRequest, RevokeDeviceRequest,
    RotateDeviceKeyRequest, SuspendDeviceRequest,
};
use haven_testkit::{Client, Stack, random};
use tonic::Status;
use uuid::Uuid;

use super::{get, open, put, put_request};
use crate::{
    status::{metadata, reason, violations},
    test_device::Device,
};

/// Calls GetPreferences as `device`.
async fn get_as(client: &Client, device: Uuid) -> Result<(), Status> {
    let request = GetPreferencesRequest {
        device_id: device.to_string(),
    };
    client.preferences().get_preferences(request).await.map(drop)
}

/// Rotates the key of `device` from version 1 to 2.
async fn rotate(client: &Client, device: &Device) {
    let request = RotateDeviceKeyRequest {
        device_id: device.id.to_string(),
        expected_key_version: 1,
        encrypted_master_key: device.secret.wrapped().unwrap(),
        key_derivation_path: "m/44'/0'/2'".into(),
        request_id: random::uuid().to_string(),
        encrypted_label: Vec::new(),
    };
    client.device().rotate_device_key(request).await.unwrap();
}

#[tokio::test]
async fn preferences_must_be_encrypted_under_the_newest_key() {
    let stack = Stack::shared().await.unwrap();
    let mut device = Device::invent(stack).await.unwrap();
    let ada = device.client.clone();
    let first = put_request(&device, 0, "dark").unwrap();
    let stored = put(&ada, first.clone()).await.unwrap();
    let early = put_request(
        &Device {
            key_version: 2,
            ..device.clone()
        },
        1,
        "light",
    )
    .unwrap();
    let status = put(&ada, early).await.unwrap_err();
    assert_eq!(reason(&status), "ENVELOPE_INVALID");
    let expected = (
        "crypto_envelope.key_version".to_owned(),
        "KEY_VERSION_UNKNOWN".to_owned(),
    );
    assert_eq!(violations(&status), [expected]);
    rotate(&ada, &device).await;
    let status = put(&ada, put_request(&device, 1, "light").unwrap())
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "KEY_VERSION_STALE");
    assert_eq!(metadata(&status, "current_key_version"), "2");
    // Preferences under the old version can still be read, and a retry of their call is still recognized.
    assert_eq!(open(&device, &get(&ada).await.unwrap()).unwrap(), "dark");
    let again = PutPreferencesRequest {
        request_id: random::uuid().to_string(),
        ..first
    };
    assert_eq!(put(&ada, again).await.unwrap(), stored);
    device.key_version = 2;
    put(&ada, put_request(&device, 1, "light").unwrap())
        .await
        .unwrap();
    assert_eq!(open(&device, &get(&ada).await.unwrap()).unwrap(), "light");
}

#[tokio::test]
async fn a_nonce_cannot_be_reused() {
    let stack = Stack::shared().await.unwrap();
    let device = Device::invent(stack).await.unwrap();
    let ada = &device.client;
    let first = put_request(&device, 0, "dark").unwrap();
    put(ada, first.clone()).await.unwrap();
    let before = get(ada).await.unwrap();
    let mut second = put_request(&device, 1, "light").unwrap();
    second.crypto_envelope.clone_from(&first.crypto_envelope);
    assert_eq!(
        reason(&put(ada, second.clone()).await.unwrap_err()),
        "NONCE_REUSED"
    );
    // Equal content over another base version needs a new nonce.
    let moved = PutPreferencesRequest {
        expected_version: 1,
        request_id: random::uuid().to_string(),
        ..first
    };
    assert_eq!(reason(&put(ada, moved).await.unwrap_err()), "NONCE_REUSED");
    // A nonce of a record cannot be used either.
    let record = device.create(random::uuid(), "hello").unwrap();
    ada.cycle().create_record(record.clone()).await.unwrap();
    second.crypto_envelope = record.crypto_envelope;
    second.request_id = random::uuid().to_string();
    assert_eq!(reason(&put(ada, second).await.unwrap_err()), "NONCE_REUSED");
    assert_eq!(get(ada).await.unwrap(), before);
}

#[tokio::test]
async fn only_the_callers_active_devices_are_accepted() {
    let stack = Stack::shared().await.unwrap();
    let device = Device::invent(stack).await.unwrap();
    let stranger = Device::invent(stack).await.unwrap();
    let ada = &device.client;
    put(ada, put_request(&device, 0, "dark").unwrap()).await.unwrap();
    get_as(ada, device.id).await.unwrap();
    for unknown in [stranger.id, random::uuid()] {
        assert_eq!(reason(&get_as(ada, unknown).await.unwrap_err()), "NOT_FOUND");
        let unknown = Device {
            id: unknown,
            ..device.clone()
        };
        let status = put(ada, put_request(&unknown, 1, "light").unwrap())
            .await
            .unwrap_err();
        assert_eq!(reason(&status), "NOT_FOUND");
    }
    // A device cannot use the key of another device of the same person.
    let another = device.another().await.unwrap();
    let borrowed = PutPreferencesRequest {
        device_id: another.id.to_string(),
        ..put_request(&device, 1, "light").unwrap()
    };
    assert_eq!(reason(&put(ada, borrowed).await.unwrap_err()), "ENVELOPE_INVALID");
    let suspension = SuspendDeviceRequest {
        device_id: device.id.to_string(),
        request_id: random::uuid().to_string(),
    };
    let suspended = ada
        .device()
        .suspend_device(suspension)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(suspended.device.unwrap().status(), DeviceStatus::Suspended);
    assert_eq!(
        reason(&get_as(ada, device.id).await.unwrap_err()),
        "DEVICE_INACTIVE"
    );
    let status = put(ada, put_request(&device, 1, "light").unwrap())
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "DEVICE_INACTIVE");
    // The person's other device still has the preferences.
    let kept = get(ada).await.unwrap();
    assert_eq!((kept.version, open(&another, &kept).unwrap()), (1, "dark".into()));
}

/// Returns whether re-encryption of the preferences is due, according to GetPreferences and ExportData alike.
async fn reencryption_due(client: &Client) -> bool {
    let read = get(client).await.unwrap();
    let export = client
        .person()
        .export_data(ExportDataRequest::default())
        .await
        .unwrap();
    let mut export = export.into_inner();
    let mut exported = None;
    while let Some(answer) = export.message().await.unwrap() {
        exported = exported.or(answer.preferences);
    }
    assert_eq!(exported.as_ref(), Some(&read));
    read.reencryption_due
}

#[tokio::test]
async fn preferences_under_an_old_or_revoked_key_are_due_until_they_are_stored_again() {
    let stack = Stack::shared().await.unwrap();
    let mut phone = Device::invent(stack).await.unwrap();
    let lost = phone.another().await.unwrap();
    let ada = phone.client.clone();
    put(&ada, put_request(&phone, 0, "dark").unwrap()).await.unwrap();
    assert!(!reencryption_due(&ada).await);
    // The rotation of another device's key does not matter.
    rotate(&ada, &lost).await;
    assert!(!reencryption_due(&ada).await);
    rotate(&ada, &phone).await;
    assert!(reencryption_due(&ada).await);
    phone.key_version = 2;
    put(&ada, put_request(&phone, 1, "dark").unwrap()).await.unwrap();
    assert!(!reencryption_due(&ada).await);

    let lost = Device {
        key_version: 2,
        ..lost
    };
    put(&ada, put_request(&lost, 2, "light").unwrap()).await.unwrap();
    // A suspended device may become active again.
    let request = SuspendDeviceRequest {
        device_id: lost.id.to_string(),
        request_id: random::uuid().to_string(),
    };
    ada.device().suspend_device(request).await.unwrap();
    assert!(!reencryption_due(&ada).await);
    let request = RevokeDeviceRequest {
        device_id: lost.id.to_string(),
        request_id: random::uuid().to_string(),
    };
    ada.device().revoke_device(request).await.unwrap();
    assert!(reencryption_due(&ada).await);
    assert_eq!(open(&phone, &get(&ada).await.unwrap()).unwrap(), "light");
    put(&ada, put_request(&phone, 3, "light").unwrap()).await.unwrap();
    assert!(!reencryption_due(&ada).await);
}
