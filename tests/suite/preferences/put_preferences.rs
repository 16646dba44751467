//! PutPreferences and GetPreferences.

use haven_proto::data::v1::{EncryptionAlgorithm, GetPreferencesRequest, Preferences, PutPreferencesRequest};
use haven_testkit::{Stack, random};

use super::{get, open, put, put_request};
use crate::{
    status::{metadata, reason, violations},
    superuser_sql::scalar_by_id,
    test_device::Device,
};

#[tokio::test]
async fn preferences_stored_by_one_device_can_be_decrypted_by_the_others() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let mut laptop = phone.another().await.unwrap();
    laptop.algorithm = EncryptionAlgorithm::Aes256Gcm;
    let ada = &phone.client;
    assert_eq!(reason(&get(ada).await.unwrap_err()), "NOT_FOUND");
    let request = put_request(&phone, 0, "dark").unwrap();
    let stored = put(ada, request.clone()).await.unwrap();
    let first = get(ada).await.unwrap();
    assert_eq!(open(&laptop, &first).unwrap(), "dark");
    assert_eq!(
        first,
        Preferences {
            encrypted_payload: request.encrypted_payload,
            crypto_envelope: request.crypto_envelope,
            version: 1,
            device_id: phone.id.to_string(),
            create_time: stored.update_time,
            update_time: stored.update_time,
            reencryption_due: false,
        }
    );
    let stored = put(ada, put_request(&laptop, 1, "light").unwrap()).await.unwrap();
    let second = get(ada).await.unwrap();
    assert_eq!(open(&phone, &second).unwrap(), "light");
    assert_eq!((second.version, stored.version), (2, 2));
    assert_eq!(second.device_id, laptop.id.to_string());
    assert_eq!(
        (second.create_time, second.update_time),
        (first.create_time, stored.update_time)
    );
    assert_ne!(second.update_time, first.update_time);
    // The version is a part of the associated data: old content cannot be passed off as new.
    let passed_off = Preferences { version: 2, ..first };
    assert!(open(&phone, &passed_off).is_err());
    let other = Device::invent(stack).await.unwrap();
    assert_eq!(reason(&get(&other.client).await.unwrap_err()), "NOT_FOUND");
}

#[tokio::test]
async fn a_put_over_a_stale_version_is_refused() {
    let stack = Stack::shared().await.unwrap();
    let device = Device::invent(stack).await.unwrap();
    let ada = &device.client;
    for version in [1, i64::MAX - 1] {
        let request = put_request(&device, version, "dark").unwrap();
        let status = put(ada, request).await.unwrap_err();
        assert_eq!(reason(&status), "VERSION_CONFLICT", "{version}");
        assert_eq!(metadata(&status, "current_version"), "0", "{version}");
    }
    put(ada, put_request(&device, 0, "dark").unwrap()).await.unwrap();
    put(ada, put_request(&device, 1, "light").unwrap()).await.unwrap();
    let before = get(ada).await.unwrap();
    for version in [0, 1, 3] {
        let request = put_request(&device, version, "none").unwrap();
        let status = put(ada, request).await.unwrap_err();
        assert_eq!(reason(&status), "VERSION_CONFLICT", "{version}");
        assert_eq!(metadata(&status, "current_version"), "2", "{version}");
    }
    assert_eq!(get(ada).await.unwrap(), before);
    let kept: String = scalar_by_id(
        &stack.database,
        device.person.id,
        "SELECT concat_ws(' ', (SELECT count(*) FROM data.encrypted_user_prefs WHERE user_id = $1),
            (SELECT count(*) FROM data.envelope_nonces WHERE user_id = $1),
            (SELECT last_number FROM data.change_counters WHERE user_id = $1))",
    )
    .await;
    assert_eq!(kept, "1 2 0", "preferences, nonces, the last change number");
}

#[tokio::test]
async fn a_retry_gets_the_first_answer() {
    let stack = Stack::shared().await.unwrap();
    let device = Device::invent(stack).await.unwrap();
    let ada = &device.client;
    let request = put_request(&device, 0, "dark").unwrap();
    let stored = put(ada, request.clone()).await.unwrap();
    assert_eq!(put(ada, request.clone()).await.unwrap(), stored);
    put(ada, put_request(&device, 1, "light").unwrap()).await.unwrap();
    let latest = get(ada).await.unwrap();
    assert_eq!(put(ada, request.clone()).await.unwrap(), stored);
    // Under another request id as well: the nonce identifies the call.
    let again = PutPreferencesRequest {
        request_id: random::uuid().to_string(),
        ..request.clone()
    };
    assert_eq!(put(ada, again.clone()).await.unwrap(), stored);
    assert_eq!(put(ada, again).await.unwrap(), stored);
    assert_eq!(get(ada).await.unwrap(), latest);
}

#[tokio::test]
async fn a_request_id_cannot_be_reused() {
    let stack = Stack::shared().await.unwrap();
    let device = Device::invent(stack).await.unwrap();
    let ada = &device.client;
    let request = put_request(&device, 0, "dark").unwrap();
    put(ada, request.clone()).await.unwrap();
    let before = get(ada).await.unwrap();
    let record = device.create(random::uuid(), "hello").unwrap();
    ada.cycle().create_record(record.clone()).await.unwrap();
    for request_id in [request.request_id, record.request_id] {
        let reused = PutPreferencesRequest {
            request_id,
            ..put_request(&device, 1, "light").unwrap()
        };
        let status = put(ada, reused).await.unwrap_err();
        assert_eq!(reason(&status), "REQUEST_ID_REUSED");
    }
    assert_eq!(get(ada).await.unwrap(), before);
}

#[tokio::test]
async fn every_violation_is_reported() {
    let stack = Stack::shared().await.unwrap();
    let device = Device::invent(stack).await.unwrap();
    let ada = &device.client;
    let nothing = PutPreferencesRequest {
        expected_version: -1,
        ..PutPreferencesRequest::default()
    };
    let status = put(ada, nothing).await.unwrap_err();
    assert_eq!(reason(&status), "ENVELOPE_INVALID");
    let expected = [
        ("request_id", "REQUIRED"),
        ("device_id", "REQUIRED"),
        ("expected_version", "NEGATIVE"),
        ("encrypted_payload", "REQUIRED"),
        ("crypto_envelope", "REQUIRED"),
    ];
    let expected = expected.map(|(field, name)| (field.to_owned(), name.to_owned()));
    assert_eq!(violations(&status), expected);
    let unsigned = PutPreferencesRequest {
        request_id: String::new(),
        ..put_request(&device, 0, "dark").unwrap()
    };
    assert_eq!(reason(&put(ada, unsigned).await.unwrap_err()), "INVALID_FIELD");
    let request = GetPreferencesRequest {
        device_id: "x".into(),
    };
    let status = ada.preferences().get_preferences(request).await.unwrap_err();
    assert_eq!(reason(&status), "INVALID_FIELD");
}
