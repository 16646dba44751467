//! DEVICE_EXISTS names the device, and RegisterDevice with `replace_device_id` puts a new device in its place.

use futures_util::future::join_all;
use haven_proto::data::v1::{Device, DeviceStatus, RegisterDeviceRequest};
use haven_testkit::{Stack, random};
use tonic::Status;

use super::{
    CROWD, counts, list_all, new_person, new_registration, register, revoke, revoke_request, rotate,
    rotate_request, suspend, suspend_request,
};
use crate::{
    status::{metadata, reason, violations},
    superuser_sql::{execute_with, scalar_with},
    test_device::Device as TestDevice,
};

/// Returns a registration that takes the place of `device`.
fn replacing(device: &Device) -> RegisterDeviceRequest {
    RegisterDeviceRequest {
        replace_device_id: device.device_id.clone(),
        ..new_registration()
    }
}

/// Fails unless `status` says that `device` stands against a registration, for `cause`.
fn assert_exists(status: &Status, device: &Device, cause: &str) {
    assert_eq!(reason(status), "DEVICE_EXISTS");
    assert_eq!(metadata(status, "device_id"), device.device_id);
    assert_eq!(metadata(status, "cause"), cause);
}

#[tokio::test]
async fn an_installation_that_lost_its_store_learns_its_device_and_replaces_it() {
    let stack = Stack::shared().await.unwrap();
    let ada = new_person(stack).await;
    let other = register(&ada, new_registration()).await.unwrap();
    let installed = new_registration();
    let lost = register(&ada, installed.clone()).await.unwrap();
    let again = RegisterDeviceRequest {
        installation_id: installed.installation_id.clone(),
        ..new_registration()
    };
    let status = register(&ada, again.clone()).await.unwrap_err();
    assert_exists(&status, &lost, "INSTALLATION_REGISTERED");
    let again = RegisterDeviceRequest {
        replace_device_id: metadata(&status, "device_id"),
        ..again
    };
    let device = register(&ada, again.clone()).await.unwrap();
    assert_ne!(device.device_id, lost.device_id);
    assert_eq!(
        (device.key_version, device.encrypted_master_key.clone()),
        (1, again.encrypted_master_key.clone())
    );
    let revoked = Device {
        status: DeviceStatus::Revoked.into(),
        encrypted_master_key: Vec::new(),
        ..lost.clone()
    };
    assert_eq!(list_all(&ada).await, [other, revoked, device.clone()]);
    // Three registrations and a revocation; two devices are not revoked.
    assert_eq!(counts(stack, &device).await, "2 3 4");
    // The first answer, also after the device that was registered was replaced itself.
    assert_eq!(register(&ada, again.clone()).await.unwrap(), device);
    register(&ada, replacing(&device)).await.unwrap();
    assert_eq!(register(&ada, again).await.unwrap(), device);
    assert_eq!(counts(stack, &device).await, "2 4 6");
}

#[tokio::test]
async fn a_device_id_that_is_used_names_its_device_even_if_revoked() {
    let stack = Stack::shared().await.unwrap();
    let ada = new_person(stack).await;
    let device = register(&ada, new_registration()).await.unwrap();
    let same_id = RegisterDeviceRequest {
        device_id: device.device_id.clone(),
        ..new_registration()
    };
    let status = register(&ada, same_id.clone()).await.unwrap_err();
    assert_exists(&status, &device, "DEVICE_ID_USED");
    revoke(&ada, revoke_request(&device)).await.unwrap();
    let status = register(&ada, same_id.clone()).await.unwrap_err();
    assert_exists(&status, &device, "DEVICE_ID_USED");
    // Where both stand against it, the one that can be replaced is named.
    let installed = new_registration();
    let installation = register(&ada, installed.clone()).await.unwrap();
    let both = RegisterDeviceRequest {
        installation_id: installed.installation_id,
        ..same_id.clone()
    };
    let status = register(&ada, both).await.unwrap_err();
    assert_exists(&status, &installation, "INSTALLATION_REGISTERED");
    // Another person can use the same ids.
    register(&new_person(stack).await, same_id).await.unwrap();
}

#[tokio::test]
async fn a_registration_that_fails_revokes_nothing() {
    let stack = Stack::shared().await.unwrap();
    let (ada, bob) = (new_person(stack).await, new_person(stack).await);
    let foreign = register(&bob, new_registration()).await.unwrap();
    let installed = new_registration();
    let kept = register(&ada, installed.clone()).await.unwrap();
    let other = register(&ada, new_registration()).await.unwrap();
    let unknown = RegisterDeviceRequest {
        replace_device_id: random::uuid().to_string(),
        ..new_registration()
    };
    for request in [unknown, replacing(&foreign)] {
        let status = register(&ada, request).await.unwrap_err();
        assert_eq!(reason(&status), "NOT_FOUND");
    }
    // A person without any device is told the same.
    let without = register(&new_person(stack).await, replacing(&kept)).await;
    assert_eq!(reason(&without.unwrap_err()), "NOT_FOUND");
    // Not the device to replace is named, although the installation is registered as this one.
    let taken = RegisterDeviceRequest {
        device_id: other.device_id.clone(),
        installation_id: installed.installation_id,
        ..replacing(&kept)
    };
    let status = register(&ada, taken).await.unwrap_err();
    assert_exists(&status, &other, "DEVICE_ID_USED");
    let itself = RegisterDeviceRequest {
        device_id: kept.device_id.clone(),
        ..replacing(&kept)
    };
    let status = register(&ada, itself).await.unwrap_err();
    assert_eq!(
        violations(&status),
        [("replace_device_id".to_owned(), "SAME_DEVICE".to_owned())]
    );
    let full = "UPDATE data.change_counters SET devices = 100 WHERE user_id = (SELECT user_id FROM data.device_key WHERE id = $1)";
    execute_with(
        &stack.database,
        full,
        kept.device_id.parse::<uuid::Uuid>().unwrap(),
    )
    .await;
    let status = register(&ada, replacing(&kept)).await.unwrap_err();
    assert_eq!(
        (reason(&status), metadata(&status, "limit")),
        ("QUOTA_EXCEEDED".to_owned(), "100".to_owned())
    );
    assert_eq!(list_all(&ada).await, [kept, other]);
    assert_eq!(list_all(&bob).await, [foreign]);
}

#[tokio::test]
async fn a_replacement_needs_no_free_place_among_ten_devices() {
    let stack = Stack::shared().await.unwrap();
    let ada = new_person(stack).await;
    let mut devices = Vec::new();
    for _ in 0..10 {
        devices.push(register(&ada, new_registration()).await.unwrap());
    }
    let status = register(&ada, new_registration()).await.unwrap_err();
    assert_eq!(reason(&status), "QUOTA_EXCEEDED");
    // A suspended device can be replaced as well.
    suspend(&ada, suspend_request(&devices[3])).await.unwrap();
    let device = register(&ada, replacing(&devices[3])).await.unwrap();
    assert_eq!(counts(stack, &device).await, "10 11 13");
    // The place of a revoked device is free already, and was taken.
    let status = register(&ada, replacing(&devices[3])).await.unwrap_err();
    assert_eq!(reason(&status), "QUOTA_EXCEEDED");
}

#[tokio::test]
async fn concurrent_replacements_of_one_device_leave_one_of_the_installation() {
    let stack = Stack::start().await.unwrap();
    let ada = new_person(&stack).await;
    let installed = new_registration();
    let lost = register(&ada, installed.clone()).await.unwrap();
    // The same request, and as many others of the same installation.
    let request = |_| RegisterDeviceRequest {
        installation_id: installed.installation_id.clone(),
        ..replacing(&lost)
    };
    let same = request(0);
    let requests: Vec<_> = (0..CROWD)
        .map(request)
        .chain((0..CROWD).map(|_| same.clone()))
        .collect();
    let answers = join_all(requests.into_iter().map(|request| register(&ada, request))).await;
    let [revoked, device] = list_all(&ada).await.try_into().unwrap();
    assert_eq!(
        (revoked.device_id, revoked.status),
        (lost.device_id, DeviceStatus::Revoked.into())
    );
    for answer in answers {
        match answer {
            Ok(answered) => assert_eq!(answered, device),
            Err(status) => assert_exists(&status, &device, "INSTALLATION_REGISTERED"),
        }
    }
    assert_eq!(counts(&stack, &device).await, "1 2 3");
}

/// The content of the replaced device has to be encrypted again, and no acknowledgement of it is waited for.
#[tokio::test]
async fn a_replaced_device_is_revoked_in_every_respect() {
    let stack = Stack::shared().await.unwrap();
    let lost = TestDevice::invent(stack).await.unwrap();
    let stored = lost.create(random::uuid(), "hello").unwrap();
    lost.client.cycle().create_record(stored).await.unwrap();
    let [listed] = list_all(&lost.client).await.try_into().unwrap();
    register(&lost.client, replacing(&listed)).await.unwrap();
    let another = lost.create(random::uuid(), "hello").unwrap();
    let status = lost.client.cycle().create_record(another).await.unwrap_err();
    assert_eq!(reason(&status), "DEVICE_INACTIVE");
    let status = rotate(&lost.client, rotate_request(&listed)).await.unwrap_err();
    assert_eq!(reason(&status), "DEVICE_INACTIVE");
    let kept: String = scalar_with(
        &stack.database,
        "SELECT concat_ws(' ', d.encrypted_master_key IS NULL,
            (SELECT string_agg(l.event, ',' ORDER BY l.occurred_at, l.event) FROM data.security_audit_log AS l
                WHERE l.user_id = d.user_id AND l.subject_id = d.id))
        FROM data.device_key AS d WHERE d.id = $1",
        lost.id,
    )
    .await;
    assert_eq!(kept, "t device_registered,device_revoked");
}

#[tokio::test]
async fn a_device_keeps_its_label_until_a_rotation_brings_another() {
    let stack = Stack::shared().await.unwrap();
    let ada = new_person(stack).await;
    let request = RegisterDeviceRequest {
        encrypted_label: vec![1; 28],
        ..new_registration()
    };
    let mut device = register(&ada, request.clone()).await.unwrap();
    assert_eq!(device.encrypted_label, [1; 28]);
    let unlabelled = RegisterDeviceRequest {
        encrypted_label: Vec::new(),
        ..new_registration()
    };
    let other = register(&ada, unlabelled).await.unwrap();
    assert_eq!(other.encrypted_label, b"");
    let keeping = rotate_request(&device);
    device = rotate(&ada, keeping.clone()).await.unwrap();
    assert_eq!(device.encrypted_label, [1; 28]);
    let mut renaming = rotate_request(&device);
    renaming.encrypted_label = vec![2; 256];
    let renamed = rotate(&ada, renaming.clone()).await.unwrap();
    assert_eq!(renamed.encrypted_label, [2; 256]);
    let mut renaming_again = rotate_request(&renamed);
    renaming_again.encrypted_label = vec![3; 28];
    let last = rotate(&ada, renaming_again).await.unwrap();
    // Retries get their first answers, and bring no earlier label back.
    assert_eq!(register(&ada, request).await.unwrap().encrypted_label, [1; 28]);
    assert_eq!(rotate(&ada, keeping).await.unwrap(), device);
    assert_eq!(rotate(&ada, renaming).await.unwrap().encrypted_label, [2; 256]);
    assert_eq!(list_all(&ada).await, [last.clone(), other]);
    // A revoked device keeps its label: it is what the person recognizes it by.
    let revoked = revoke(&ada, revoke_request(&last)).await.unwrap();
    assert_eq!(revoked.encrypted_label, [3; 28]);
}
