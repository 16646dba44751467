//! RegisterDevice.

use std::slice::from_ref;

use chrono::{DateTime, TimeDelta, Utc};
use haven_proto::data::v1::{DevicePlatform, DeviceStatus, EraseUserRequest, RegisterDeviceRequest};
use haven_testkit::{Stack, port::Port, random};
use prost_types::Timestamp;

use super::{
    list_all, new_person, new_registration, register, revoke, revoke_request, rotate, rotate_request,
};
use crate::{
    retry::with_long_timeout,
    status::{reason, violations},
    superuser_sql::scalar,
};

fn time(timestamp: Option<Timestamp>) -> DateTime<Utc> {
    let timestamp = timestamp.unwrap();
    DateTime::from_timestamp(timestamp.seconds, timestamp.nanos as u32).unwrap()
}

#[tokio::test]
async fn a_device_is_listed_as_it_was_registered() {
    let stack = Stack::shared().await.unwrap();
    let ada = new_person(stack).await;
    let before = Utc::now();
    let mut registered = Vec::new();
    for platform in [DevicePlatform::Ios, DevicePlatform::Android, DevicePlatform::Web] {
        let request = RegisterDeviceRequest {
            platform: platform.into(),
            app_version: format!("2.1 ({})", platform.as_str_name()),
            ..new_registration()
        };
        let device = register(&ada, request.clone()).await.unwrap();
        assert_eq!(device.platform(), platform);
        assert_eq!(device.app_version, request.app_version);
        assert_eq!(device.encrypted_master_key, request.encrypted_master_key);
        assert_eq!(device.key_derivation_path, request.key_derivation_path);
        assert_eq!((device.key_version, device.rotation_overdue), (1, false));
        assert_eq!(device.status(), DeviceStatus::Active);
        assert_eq!(device.acknowledged_change_number, 0);
        assert_eq!(device.last_active_time, device.create_time);
        let created = time(device.create_time);
        assert!(
            before - TimeDelta::milliseconds(1) <= created && created <= Utc::now(),
            "{created}"
        );
        assert_eq!(time(device.next_rotation_time), created + TimeDelta::days(90));
        registered.push(device);
    }
    assert_eq!(list_all(&ada).await, registered);
    assert!(list_all(&new_person(stack).await).await.is_empty());
}

#[tokio::test]
async fn an_installation_id_is_stored_only_as_a_hash() {
    let stack = Stack::start().await.unwrap();
    let (ada, bob) = (new_person(&stack).await, new_person(&stack).await);
    let request = RegisterDeviceRequest {
        device_id: random::uuid().to_string(),
        installation_id: "installation-of-ada".into(),
        ..new_registration()
    };
    // Two people may share a device, and may choose the same ids.
    for client in [&ada, &bob] {
        let device = register(client, request.clone()).await.unwrap();
        assert_eq!(device.device_id, request.device_id);
    }
    let hashes: i64 = scalar(
        &stack.database,
        "SELECT count(DISTINCT device_id_hash) FROM data.device_key WHERE octet_length(device_id_hash) = 32",
    )
    .await;
    assert_eq!(hashes, 2, "equal ids of two people have different hashes");
    let kept: i64 = scalar(
        &stack.database,
        "SELECT count(*) FROM (
            SELECT to_jsonb(d)::text AS kept FROM data.device_key AS d
            UNION ALL SELECT to_jsonb(r)::text FROM data.requests AS r
            UNION ALL SELECT to_jsonb(e)::text FROM data.security_audit_log AS e) AS everything
        WHERE kept LIKE '%installation-of-ada%' OR kept LIKE '%' || encode('installation-of-ada', 'hex') || '%'",
    )
    .await;
    assert_eq!(kept, 0);
    let answers: i64 = scalar(
        &stack.database,
        "SELECT count(*) FROM data.requests AS r JOIN data.device_key AS d USING (user_id)
        WHERE r.answer::text LIKE '%' || encode(d.encrypted_master_key, 'hex') || '%'
            OR r.answer::text LIKE '%' || left(encode(d.encrypted_master_key, 'base64'), 40) || '%'",
    )
    .await;
    assert_eq!(answers, 0, "stored answers contain no master key");
}

#[tokio::test]
async fn an_installation_is_registered_once_until_it_is_revoked() {
    let stack = Stack::shared().await.unwrap();
    let ada = new_person(stack).await;
    let first = RegisterDeviceRequest {
        device_id: random::uuid().to_string(),
        ..new_registration()
    };
    let device = register(&ada, first.clone()).await.unwrap();
    let same_installation = RegisterDeviceRequest {
        installation_id: first.installation_id.clone(),
        ..new_registration()
    };
    let same_id = RegisterDeviceRequest {
        device_id: first.device_id.clone(),
        ..new_registration()
    };
    for taken in [&same_installation, &same_id] {
        let status = register(&ada, taken.clone()).await.unwrap_err();
        assert_eq!(reason(&status), "DEVICE_EXISTS");
    }
    assert_eq!(list_all(&ada).await, from_ref(&device));
    let revoked = revoke(&ada, revoke_request(&device)).await.unwrap();
    // The id stays the device's: content that it encrypted refers to it.
    let status = register(&ada, same_id).await.unwrap_err();
    assert_eq!(reason(&status), "DEVICE_EXISTS");
    let again = register(&ada, same_installation).await.unwrap();
    assert_ne!(again.device_id, device.device_id);
    assert_eq!(list_all(&ada).await, [revoked, again]);
}

#[tokio::test]
async fn a_retry_gets_the_first_answer() {
    let stack = Stack::shared().await.unwrap();
    let ada = new_person(stack).await;
    let request = new_registration();
    let device = register(&ada, request.clone()).await.unwrap();
    assert_eq!(register(&ada, request.clone()).await.unwrap(), device);
    let rotated = rotate(&ada, rotate_request(&device)).await.unwrap();
    assert_eq!(register(&ada, request.clone()).await.unwrap(), device);
    revoke(&ada, revoke_request(&rotated)).await.unwrap();
    assert_eq!(register(&ada, request).await.unwrap(), device);
    assert_eq!(list_all(&ada).await.len(), 1);
}

#[tokio::test]
async fn a_request_id_cannot_be_reused() {
    let stack = Stack::shared().await.unwrap();
    let ada = new_person(stack).await;
    let request = new_registration();
    let device = register(&ada, request.clone()).await.unwrap();
    let revoking = revoke_request(&register(&ada, new_registration()).await.unwrap());
    revoke(&ada, revoking.clone()).await.unwrap();
    let before = list_all(&ada).await;
    for reused in [
        RegisterDeviceRequest {
            app_version: "1.0.1".into(),
            ..request.clone()
        },
        RegisterDeviceRequest {
            installation_id: random::uuid().to_string(),
            ..request.clone()
        },
        RegisterDeviceRequest {
            device_id: device.device_id.clone(),
            ..request.clone()
        },
        RegisterDeviceRequest {
            encrypted_master_key: vec![7; 64],
            ..request.clone()
        },
        // Used by another RPC.
        RegisterDeviceRequest {
            request_id: revoking.request_id,
            ..new_registration()
        },
    ] {
        let status = register(&ada, reused).await.unwrap_err();
        assert_eq!(reason(&status), "REQUEST_ID_REUSED");
    }
    assert_eq!(list_all(&ada).await, before);
}

#[tokio::test]
async fn every_violation_is_reported() {
    let stack = Stack::shared().await.unwrap();
    let ada = new_person(stack).await;
    let named = |status| {
        assert_eq!(reason(&status), "INVALID_FIELD");
        let reported = violations(&status).into_iter();
        reported
            .map(|(field, name)| format!("{field} {name}"))
            .collect::<Vec<_>>()
    };
    let nothing = register(&ada, RegisterDeviceRequest::default())
        .await
        .unwrap_err();
    let expected = [
        "request_id REQUIRED",
        "installation_id REQUIRED",
        "encrypted_master_key REQUIRED",
        "key_derivation_path REQUIRED",
        "platform REQUIRED",
        "app_version REQUIRED",
    ];
    assert_eq!(named(nothing), expected);
    let wrong = RegisterDeviceRequest {
        device_id: "x".into(),
        installation_id: "x".repeat(15),
        encrypted_master_key: vec![7; 31],
        key_derivation_path: format!("m{}", "/1".repeat(13)),
        platform: 4,
        app_version: "1\u{0}".into(),
        request_id: "x".into(),
        replace_device_id: String::new(),
        encrypted_label: Vec::new(),
    };
    let expected = [
        "request_id NOT_A_UUID",
        "device_id NOT_A_UUID",
        "installation_id TOO_SHORT",
        "encrypted_master_key TOO_SHORT",
        "key_derivation_path TOO_LONG",
        "platform UNKNOWN_VALUE",
        "app_version NOT_ASCII",
    ];
    assert_eq!(named(register(&ada, wrong).await.unwrap_err()), expected);
    // A device at each limit is accepted, by the database as well.
    for (bytes, path, version) in [
        (32, "m".to_owned(), "1".to_owned()),
        (
            1_024,
            format!("m/12345'{}", "/2147483647'".repeat(10)),
            "~".repeat(64),
        ),
        (64, format!("m{}", "/1".repeat(12)), " ".into()),
    ] {
        let request = RegisterDeviceRequest {
            installation_id: "é".repeat(128),
            encrypted_master_key: vec![7; bytes],
            key_derivation_path: path,
            app_version: version,
            ..new_registration()
        };
        let device = register(&ada, request).await.unwrap();
        revoke(&ada, revoke_request(&device)).await.unwrap();
    }
}

#[tokio::test]
async fn an_unknown_person_is_refused_as_not_ready_or_erased() {
    let nowhere = Port::reserve().unwrap();
    let wrong = format!("https://localhost:{}", nowhere.number());
    let stack = Stack::builder()
        .variable("identity", "DATA_URL", wrong)
        .start()
        .await
        .unwrap();
    let person = stack.person().await.unwrap();
    let ada = stack.user(&person).unwrap();
    let status = register(&ada, new_registration()).await.unwrap_err();
    assert_eq!(reason(&status), "ACCOUNT_NOT_READY");
    let request = EraseUserRequest {
        user_id: person.id.to_string(),
        request_id: random::uuid().to_string(),
    };
    let identity = stack.service("identity").unwrap();
    identity
        .person()
        .erase_user(with_long_timeout(request))
        .await
        .unwrap();
    let status = register(&ada, new_registration()).await.unwrap_err();
    assert_eq!(reason(&status), "ACCOUNT_ERASED");
}
