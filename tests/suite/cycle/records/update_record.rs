//! UpdateRecord: an update names the version that it is based on.

use haven_proto::data::v1::{CryptoEnvelope, UpdateRecordRequest};
use haven_testkit::{Stack, random};

use super::{create, delete, delete_request, get, store, update};
use crate::{
    status::{metadata, reason, violations},
    superuser_sql::{execute, scalar_with},
    test_device::{Device, at},
};

#[tokio::test]
async fn an_update_replaces_the_content() {
    let stack = Stack::shared().await.unwrap();
    let device = Device::invent(stack).await.unwrap();
    let other = device.another().await.unwrap();
    let id = store(&device, "one").await;
    let before = get(&device.client, id).await.unwrap();
    let request = UpdateRecordRequest {
        local_time: Some(at(chrono::DateTime::UNIX_EPOCH)),
        ..other.update(id, 1, "two").unwrap()
    };
    let changed = update(&other.client, request.clone()).await.unwrap();
    assert_eq!((changed.version, changed.change_number), (2, 2));
    let after = get(&device.client, id).await.unwrap();
    assert_eq!(device.open(&after).unwrap(), "two");
    assert_eq!((after.version, after.change_number), (2, 2));
    assert_eq!(after.device_id, other.id.to_string());
    assert_eq!(after.encrypted_payload, request.encrypted_payload);
    assert_eq!(after.crypto_envelope, request.crypto_envelope);
    assert_eq!(after.local_time, request.local_time);
    assert_eq!(
        (after.create_time, after.update_time),
        (before.create_time, changed.change_time)
    );
    // The version is a part of the associated data: old content cannot be passed off as new.
    let passed_off = haven_proto::data::v1::Record {
        encrypted_payload: before.encrypted_payload,
        crypto_envelope: before.crypto_envelope,
        ..after
    };
    assert!(device.open(&passed_off).is_err());
}

#[tokio::test]
async fn an_update_or_deletion_over_a_stale_version_is_refused() {
    let stack = Stack::shared().await.unwrap();
    let device = Device::invent(stack).await.unwrap();
    let id = store(&device, "one").await;
    update(&device.client, device.update(id, 1, "two").unwrap())
        .await
        .unwrap();
    let record = get(&device.client, id).await.unwrap();
    for version in [1, 3, i64::MAX - 1] {
        let status = update(&device.client, device.update(id, version, "three").unwrap()).await;
        let status = status.unwrap_err();
        assert_eq!(reason(&status), "VERSION_CONFLICT", "{version}");
        assert_eq!(metadata(&status, "current_version"), "2", "{version}");
        let status = delete(&device.client, delete_request(&device, id, version)).await;
        let status = status.unwrap_err();
        assert_eq!(reason(&status), "VERSION_CONFLICT", "{version}");
        assert_eq!(metadata(&status, "current_version"), "2", "{version}");
    }
    assert_eq!(get(&device.client, id).await.unwrap(), record);
    let left: String = scalar_with(
        &stack.database,
        "SELECT concat_ws(' ', (SELECT last_number FROM data.change_counters WHERE user_id = $1),
             (SELECT count(*) FROM data.cycle_data_conflicts WHERE user_id = $1),
             (SELECT count(*) FROM data.envelope_nonces WHERE user_id = $1))",
        device.person.id,
    )
    .await;
    assert_eq!(left, "2 0 2", "the last change number, conflicts, nonces");
}

#[tokio::test]
async fn a_retry_gets_the_first_answer() {
    let stack = Stack::shared().await.unwrap();
    let device = Device::invent(stack).await.unwrap();
    let id = store(&device, "one").await;
    let request = device.update(id, 1, "two").unwrap();
    let second = update(&device.client, request.clone()).await.unwrap();
    assert_eq!(update(&device.client, request.clone()).await.unwrap(), second);
    let third = device.update(id, 2, "three").unwrap();
    let third = update(&device.client, third).await.unwrap();
    assert_eq!(third.version, 3);
    // Another request id gets the same answer: the nonce identifies the change.
    let again = UpdateRecordRequest {
        request_id: random::uuid().to_string(),
        ..request.clone()
    };
    for request in [request.clone(), again.clone()] {
        assert_eq!(update(&device.client, request).await.unwrap(), second);
    }
    delete(&device.client, delete_request(&device, id, 3))
        .await
        .unwrap();
    // A stored request id is enough to recognize a retry, also when the nonce is deleted.
    let forget = format!(
        "DELETE FROM data.envelope_nonces WHERE user_id = '{}'",
        device.person.id
    );
    execute(&stack.database, &forget).await;
    for request in [request, again] {
        assert_eq!(update(&device.client, request).await.unwrap(), second);
    }
    let record: String = scalar_with(
        &stack.database,
        "SELECT concat_ws(' ', version, change_number, encrypted_payload IS NULL)
         FROM data.encrypted_cycle_data WHERE user_id = $1",
        device.person.id,
    )
    .await;
    assert_eq!(record, "4 4 t");
}

#[tokio::test]
async fn a_request_id_cannot_be_reused() {
    let stack = Stack::shared().await.unwrap();
    let device = Device::invent(stack).await.unwrap();
    let id = random::uuid();
    let created = device.create(id, "one").unwrap();
    create(&device.client, created.clone()).await.unwrap();
    let other = store(&device, "another").await;
    let request = device.update(id, 1, "two").unwrap();
    update(&device.client, request.clone()).await.unwrap();
    let record = get(&device.client, id).await.unwrap();
    for reused in [
        UpdateRecordRequest {
            expected_version: 2,
            ..request.clone()
        },
        UpdateRecordRequest {
            record_id: other.to_string(),
            ..request.clone()
        },
        UpdateRecordRequest {
            request_id: request.request_id.clone(),
            ..device.update(id, 1, "two").unwrap()
        },
        // A request id that another RPC used.
        UpdateRecordRequest {
            request_id: created.request_id.clone(),
            ..device.update(id, 2, "three").unwrap()
        },
    ] {
        let status = update(&device.client, reused).await.unwrap_err();
        assert_eq!(reason(&status), "REQUEST_ID_REUSED");
    }
    assert_eq!(get(&device.client, id).await.unwrap(), record);
    assert_eq!(get(&device.client, other).await.unwrap().version, 1);
}

#[tokio::test]
async fn a_nonce_cannot_be_reused() {
    let stack = Stack::shared().await.unwrap();
    let device = Device::invent(stack).await.unwrap();
    let id = random::uuid();
    let created = device.create(id, "one").unwrap();
    create(&device.client, created.clone()).await.unwrap();
    let request = device.update(id, 1, "two").unwrap();
    let reused = UpdateRecordRequest {
        crypto_envelope: Some(CryptoEnvelope {
            nonce: created.crypto_envelope.unwrap().nonce,
            ..request.crypto_envelope.clone().unwrap()
        }),
        ..request.clone()
    };
    let status = update(&device.client, reused).await.unwrap_err();
    assert_eq!(reason(&status), "NONCE_REUSED");
    // A request with the content of a version and the next version as its base.
    update(&device.client, request.clone()).await.unwrap();
    let again = UpdateRecordRequest {
        expected_version: 2,
        request_id: random::uuid().to_string(),
        ..request
    };
    let status = update(&device.client, again).await.unwrap_err();
    assert_eq!(reason(&status), "NONCE_REUSED");
    let record = get(&device.client, id).await.unwrap();
    assert_eq!(device.open(&record).unwrap(), "two");
}

#[tokio::test]
async fn every_violation_is_reported() {
    let stack = Stack::shared().await.unwrap();
    let device = Device::invent(stack).await.unwrap();
    let status = update(&device.client, UpdateRecordRequest::default())
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "ENVELOPE_INVALID");
    let reported = violations(&status).into_iter();
    let reported: Vec<_> = reported.map(|(field, name)| format!("{field} {name}")).collect();
    let expected = [
        "request_id REQUIRED",
        "device_id REQUIRED",
        "record_id REQUIRED",
        "expected_version REQUIRED",
        "encrypted_payload REQUIRED",
        "crypto_envelope REQUIRED",
        "local_time REQUIRED",
    ];
    assert_eq!(reported, expected);
    let unknown = device.update(random::uuid(), 1, "hello").unwrap();
    let status = update(&device.client, unknown).await.unwrap_err();
    assert_eq!(reason(&status), "NOT_FOUND");
    let id = store(&device, "one").await;
    for version in [0, -1] {
        let request = UpdateRecordRequest {
            expected_version: version,
            ..device.update(id, 1, "two").unwrap()
        };
        let status = update(&device.client, request).await.unwrap_err();
        assert_eq!(reason(&status), "INVALID_FIELD", "{version}");
    }
}
