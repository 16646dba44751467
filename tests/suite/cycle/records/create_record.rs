//! CreateRecord: its answer, its retries, and the requests that it refuses.

use haven_proto::data::v1::{CreateRecordRequest, CryptoEnvelope, EncryptionAlgorithm, SyncStatus};
use haven_testkit::{Stack, random};
use prost_types::Timestamp;

use super::{create, delete, delete_request, get, store, update};
use crate::{
    cycle::last_change_number,
    status::{metadata, reason, violations},
    superuser_sql::{execute, scalar_with},
    test_device::Device,
};

#[tokio::test]
async fn a_stored_record_can_be_decrypted_again() {
    let stack = Stack::shared().await.unwrap();
    let mut device = Device::invent(stack).await.unwrap();
    let other = device.another().await.unwrap();
    for (number, algorithm) in [
        EncryptionAlgorithm::Xchacha20Poly1305,
        EncryptionAlgorithm::Aes256Gcm,
    ]
    .into_iter()
    .enumerate()
    {
        device.algorithm = algorithm;
        let id = random::uuid();
        let request = device.create(id, "day 14, a little pain").unwrap();
        let stored = create(&device.client, request.clone()).await.unwrap();
        let number = number as i64 + 1;
        assert_eq!((stored.version, stored.change_number), (1, number));
        let record = get(&device.client, id).await.unwrap();
        assert_eq!(record.record_id, id.to_string());
        assert_eq!(record.encrypted_payload, request.encrypted_payload);
        assert_eq!(record.crypto_envelope, request.crypto_envelope);
        assert_eq!(record.device_id, device.id.to_string());
        assert_eq!(record.local_time, request.local_time);
        assert_eq!((record.version, record.change_number), (1, number));
        assert_eq!(
            (record.create_time, record.update_time),
            (stored.change_time, stored.change_time)
        );
        assert_eq!((record.delete_time, record.reencryption_due), (None, false));
        assert_eq!(record.sync_status(), SyncStatus::Pending);
        assert_eq!(other.open(&record).unwrap(), "day 14, a little pain");
    }
}

#[tokio::test]
async fn a_record_without_an_id_gets_the_request_id() {
    let stack = Stack::shared().await.unwrap();
    let device = Device::invent(stack).await.unwrap();
    let id = random::uuid();
    let request = CreateRecordRequest {
        record_id: String::new(),
        request_id: id.to_string(),
        ..device.create(id, "hello").unwrap()
    };
    let stored = create(&device.client, request.clone()).await.unwrap();
    assert_eq!(stored.record_id, id.to_string());
    assert_eq!(create(&device.client, request).await.unwrap(), stored);
    let record = get(&device.client, id).await.unwrap();
    assert_eq!(device.open(&record).unwrap(), "hello");
}

#[tokio::test]
async fn a_retry_gets_the_first_answer() {
    let stack = Stack::shared().await.unwrap();
    let device = Device::invent(stack).await.unwrap();
    let id = random::uuid();
    let request = device.create(id, "hello").unwrap();
    let first = create(&device.client, request.clone()).await.unwrap();
    store(&device, "another").await;
    assert_eq!(create(&device.client, request.clone()).await.unwrap(), first);
    // A client that lost its request id and kept the ciphertext.
    let again = CreateRecordRequest {
        request_id: random::uuid().to_string(),
        ..request.clone()
    };
    assert_eq!(create(&device.client, again.clone()).await.unwrap(), first);
    // The second request id is stored as well.
    let reused = CreateRecordRequest {
        request_id: again.request_id.clone(),
        ..device.create(random::uuid(), "something else").unwrap()
    };
    let status = create(&device.client, reused).await.unwrap_err();
    assert_eq!(reason(&status), "REQUEST_ID_REUSED");
    // The answer stays the same when the record changes.
    let changed = device.update(id, 1, "goodbye").unwrap();
    update(&device.client, changed).await.unwrap();
    delete(&device.client, delete_request(&device, id, 2))
        .await
        .unwrap();
    for request in [request, again] {
        assert_eq!(create(&device.client, request).await.unwrap(), first);
    }
    assert_eq!(reason(&get(&device.client, id).await.unwrap_err()), "NOT_FOUND");
    let changes = last_change_number(stack, &device).await;
    assert_eq!(changes, 4, "a call without effect takes no change number");
}

#[tokio::test]
async fn a_record_id_cannot_be_reused() {
    let stack = Stack::shared().await.unwrap();
    let device = Device::invent(stack).await.unwrap();
    let id = random::uuid();
    let request = device.create(id, "hello").unwrap();
    create(&device.client, request.clone()).await.unwrap();
    let record = get(&device.client, id).await.unwrap();
    // A second encryption of a text has another ciphertext, so the service cannot know that the texts are equal.
    for content in ["hello", "goodbye"] {
        let status = create(&device.client, device.create(id, content).unwrap()).await;
        assert_eq!(reason(&status.unwrap_err()), "RECORD_EXISTS");
    }
    assert_eq!(get(&device.client, id).await.unwrap(), record);
    // The id of a deleted record cannot be used again.
    delete(&device.client, delete_request(&device, id, 1))
        .await
        .unwrap();
    let status = create(&device.client, device.create(id, "again").unwrap()).await;
    assert_eq!(reason(&status.unwrap_err()), "RECORD_EXISTS");
}

#[tokio::test]
async fn a_request_id_cannot_be_reused() {
    let stack = Stack::shared().await.unwrap();
    let device = Device::invent(stack).await.unwrap();
    let id = random::uuid();
    let request = device.create(id, "hello").unwrap();
    create(&device.client, request.clone()).await.unwrap();
    let mut deleted = delete_request(&device, id, 1);
    delete(&device.client, deleted.clone()).await.unwrap();
    let other = random::uuid();
    let reused = [
        device.create(id, "hello").unwrap(),
        device.create(other, "hello").unwrap(),
        CreateRecordRequest {
            local_time: Some(Timestamp { seconds: 1, nanos: 0 }),
            ..request.clone()
        },
        CreateRecordRequest {
            request_id: deleted.request_id.clone(),
            ..device.create(other, "hello").unwrap()
        },
    ];
    for (position, reused) in reused.into_iter().enumerate() {
        let request_id = match position {
            3 => reused.request_id.clone(),
            _ => request.request_id.clone(),
        };
        let reused = CreateRecordRequest { request_id, ..reused };
        let status = create(&device.client, reused).await.unwrap_err();
        assert_eq!(reason(&status), "REQUEST_ID_REUSED", "{position}");
    }
    assert_eq!(
        reason(&get(&device.client, other).await.unwrap_err()),
        "NOT_FOUND"
    );
    // The request id cannot be used for another RPC either.
    deleted.request_id = request.request_id;
    let status = delete(&device.client, deleted).await.unwrap_err();
    assert_eq!(reason(&status), "REQUEST_ID_REUSED");
}

#[tokio::test]
async fn a_nonce_cannot_be_reused() {
    let stack = Stack::shared().await.unwrap();
    let device = Device::invent(stack).await.unwrap();
    let id = random::uuid();
    let request = device.create(id, "hello").unwrap();
    create(&device.client, request.clone()).await.unwrap();
    let other = device.create(random::uuid(), "another").unwrap();
    let envelope = |nonce: &CreateRecordRequest| CryptoEnvelope {
        nonce: nonce.crypto_envelope.clone().unwrap().nonce,
        ..other.crypto_envelope.clone().unwrap()
    };
    let reused = CreateRecordRequest {
        crypto_envelope: Some(envelope(&request)),
        ..other.clone()
    };
    let status = create(&device.client, reused).await.unwrap_err();
    assert_eq!(reason(&status), "NONCE_REUSED");
    // The record id is a part of the stored content.
    let moved = CreateRecordRequest {
        record_id: random::uuid().to_string(),
        request_id: random::uuid().to_string(),
        ..request
    };
    let status = create(&device.client, moved).await.unwrap_err();
    assert_eq!(reason(&status), "NONCE_REUSED");
    create(&device.client, other).await.unwrap();
    let kept: i64 = scalar_with(
        &stack.database,
        "SELECT count(*) FROM data.encrypted_cycle_data WHERE user_id = $1",
        device.person.id,
    )
    .await;
    assert_eq!(kept, 2);
}

#[tokio::test]
async fn a_record_must_be_encrypted_under_the_newest_key() {
    let stack = Stack::shared().await.unwrap();
    let mut device = Device::invent(stack).await.unwrap();
    let request = device.create(random::uuid(), "hello").unwrap();
    let first = create(&device.client, request.clone()).await.unwrap();
    let rotate = format!(
        "UPDATE data.device_key SET key_version = 2 WHERE id = '{}'",
        device.id
    );
    execute(&stack.database, &rotate).await;
    let old = device.create(random::uuid(), "hello").unwrap();
    let status = create(&device.client, old).await.unwrap_err();
    assert_eq!(reason(&status), "KEY_VERSION_STALE");
    assert_eq!(metadata(&status, "current_key_version"), "2");
    device.key_version = 3;
    let new = device.create(random::uuid(), "hello").unwrap();
    let status = create(&device.client, new).await.unwrap_err();
    assert_eq!(reason(&status), "ENVELOPE_INVALID");
    let expected = (
        "crypto_envelope.key_version".to_owned(),
        "KEY_VERSION_UNKNOWN".to_owned(),
    );
    assert_eq!(violations(&status), [expected]);
    device.key_version = 2;
    let now = device.create(random::uuid(), "hello").unwrap();
    assert_eq!(create(&device.client, now).await.unwrap().change_number, 2);
    // A retry gets the first answer, also under another request id.
    let again = CreateRecordRequest {
        request_id: random::uuid().to_string(),
        ..request.clone()
    };
    for request in [request, again] {
        assert_eq!(create(&device.client, request).await.unwrap(), first);
    }
}

#[tokio::test]
async fn every_violation_is_reported() {
    let stack = Stack::shared().await.unwrap();
    let device = Device::invent(stack).await.unwrap();
    let named = |status| {
        let reported = violations(&status).into_iter();
        reported
            .map(|(field, name)| format!("{field} {name}"))
            .collect::<Vec<_>>()
    };
    let status = create(&device.client, CreateRecordRequest::default())
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "ENVELOPE_INVALID");
    let expected = [
        "request_id REQUIRED",
        "device_id REQUIRED",
        "encrypted_payload REQUIRED",
        "crypto_envelope REQUIRED",
        "local_time REQUIRED",
    ];
    assert_eq!(named(status), expected);
    let wrong = CreateRecordRequest {
        record_id: "x".into(),
        local_time: Some(Timestamp {
            seconds: i64::MAX,
            nanos: 0,
        }),
        ..device.create(random::uuid(), "hello").unwrap()
    };
    let status = create(&device.client, wrong).await.unwrap_err();
    assert_eq!(reason(&status), "INVALID_FIELD");
    assert_eq!(named(status), ["record_id NOT_A_UUID", "local_time NOT_A_TIME"]);
}
