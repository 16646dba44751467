//! Under which key preferences have to be, and which devices may read and store them.

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

async fn get_as(client: &Client, device: Uuid) -> Result<(), Status> {
    let request = GetPreferencesRequest {
        device_id: device.to_string(),
    };
    client.preferences().get_preferences(request).await.map(drop)
}

/// Gives a device its second key.
async fn rotate(client: &Client, device: &Device) {
    let request = RotateDeviceKeyRequest {
        device_id: device.id.to_string(),
        expected_key_version: 1,
        encrypted_master_key: device.secret.wrapped().unwrap(),
        key_derivation_path: "m/44'/0'/2'".into(),
        request_id: random::uuid().to_string(),
    };
    client.device().rotate_device_key(request).await.unwrap();
}

#[tokio::test]
async fn what_is_stored_is_under_the_key_as_it_is_now() {
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
    // What was stored under the old version stays readable, and a retry of it is still one.
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
async fn a_nonce_is_used_once() {
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
    // Nor for the same content as another version.
    let moved = PutPreferencesRequest {
        expected_version: 1,
        request_id: random::uuid().to_string(),
        ..first
    };
    assert_eq!(reason(&put(ada, moved).await.unwrap_err()), "NONCE_REUSED");
    // Nor one that a record has.
    let record = device.create(random::uuid(), "hello").unwrap();
    ada.cycle().create_record(record.clone()).await.unwrap();
    second.crypto_envelope = record.crypto_envelope;
    second.request_id = random::uuid().to_string();
    assert_eq!(reason(&put(ada, second).await.unwrap_err()), "NONCE_REUSED");
    assert_eq!(get(ada).await.unwrap(), before);
}

#[tokio::test]
async fn only_a_persons_own_active_devices_may_call() {
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
    // Nor may a device use the key of another one of the same person.
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
    // The person is who they were, whichever device is lost.
    let kept = get(ada).await.unwrap();
    assert_eq!((kept.version, open(&another, &kept).unwrap()), (1, "dark".into()));
}

/// Whether the preferences are to be encrypted anew, as they are read and as they are exported.
async fn due(client: &Client) -> bool {
    let read = get(client).await.unwrap();
    let export = client.person().export_data(ExportDataRequest {}).await.unwrap();
    let mut export = export.into_inner();
    let mut exported = None;
    while let Some(answer) = export.message().await.unwrap() {
        exported = exported.or(answer.preferences);
    }
    assert_eq!(exported.as_ref(), Some(&read));
    read.reencryption_due
}

#[tokio::test]
async fn what_is_under_an_old_key_or_a_revoked_devices_is_due_until_it_is_stored_anew() {
    let stack = Stack::shared().await.unwrap();
    let mut phone = Device::invent(stack).await.unwrap();
    let lost = phone.another().await.unwrap();
    let ada = phone.client.clone();
    put(&ada, put_request(&phone, 0, "dark").unwrap()).await.unwrap();
    assert!(!due(&ada).await);
    // Another device's key is none of it.
    rotate(&ada, &lost).await;
    assert!(!due(&ada).await);
    rotate(&ada, &phone).await;
    assert!(due(&ada).await);
    phone.key_version = 2;
    put(&ada, put_request(&phone, 1, "dark").unwrap()).await.unwrap();
    assert!(!due(&ada).await);

    let lost = Device {
        key_version: 2,
        ..lost
    };
    put(&ada, put_request(&lost, 2, "light").unwrap()).await.unwrap();
    // A device that is suspended may come back.
    let request = SuspendDeviceRequest {
        device_id: lost.id.to_string(),
        request_id: random::uuid().to_string(),
    };
    ada.device().suspend_device(request).await.unwrap();
    assert!(!due(&ada).await);
    let request = RevokeDeviceRequest {
        device_id: lost.id.to_string(),
        request_id: random::uuid().to_string(),
    };
    ada.device().revoke_device(request).await.unwrap();
    assert!(due(&ada).await);
    assert_eq!(open(&phone, &get(&ada).await.unwrap()).unwrap(), "light");
    put(&ada, put_request(&phone, 3, "light").unwrap()).await.unwrap();
    assert!(!due(&ada).await);
}
