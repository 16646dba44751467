//! DeleteRecord: the content is deleted at once, and a tombstone stays.

use haven_proto::data::v1::{DeleteRecordRequest, ListRecordsRequest};
use haven_testkit::{Stack, random};

use super::{delete, delete_request, get, list_all, store, update};
use crate::{
    status::{reason, violations},
    superuser_sql::scalar_with,
    test_device::Device,
};

#[tokio::test]
async fn a_deleted_record_leaves_a_tombstone_without_content() {
    let stack = Stack::shared().await.unwrap();
    let device = Device::invent(stack).await.unwrap();
    let other = device.another().await.unwrap();
    let id = store(&device, "one").await;
    let kept = store(&device, "another").await;
    let deleted = delete(&other.client, delete_request(&other, id, 1))
        .await
        .unwrap();
    assert_eq!(deleted.record_id, id.to_string());
    assert_eq!((deleted.version, deleted.change_number), (2, 3));
    assert!(deleted.change_time.is_some());
    assert_eq!(reason(&get(&device.client, id).await.unwrap_err()), "NOT_FOUND");
    let (seen, _) = list_all(&device.client, ListRecordsRequest::default()).await;
    assert_eq!(seen, [get(&device.client, kept).await.unwrap()]);
    let tombstone: String = scalar_with(&stack.database, "SELECT concat_ws(' ', version, change_number, device_id = (SELECT max(id::text)::uuid FROM data.device_key
                 WHERE id = r.device_id), num_nonnulls(encrypted_payload, algorithm, key_id, nonce, salt),
                 deleted_at = updated_at)
         FROM data.encrypted_cycle_data AS r WHERE user_id = $1 AND deleted_at IS NOT NULL", device.person.id)
    .await;
    assert_eq!(tombstone, "2 3 t 0 t");
}

#[tokio::test]
async fn a_deleted_record_cannot_be_updated_or_deleted() {
    let stack = Stack::shared().await.unwrap();
    let device = Device::invent(stack).await.unwrap();
    let id = store(&device, "one").await;
    let other = device.another().await.unwrap();
    delete(&device.client, delete_request(&device, id, 1))
        .await
        .unwrap();
    for version in [1, 2, 3] {
        let status = update(&device.client, device.update(id, version, "two").unwrap()).await;
        assert_eq!(reason(&status.unwrap_err()), "NOT_FOUND", "{version}");
        // The first deletion is by the other device: one by the same device would be a retry.
        let device = if version == 1 { &other } else { &device };
        let status = delete(&device.client, delete_request(device, id, version)).await;
        assert_eq!(reason(&status.unwrap_err()), "NOT_FOUND", "{version}");
    }
    let status = delete(&device.client, delete_request(&device, id, i64::MAX)).await;
    assert_eq!(reason(&status.unwrap_err()), "NOT_FOUND");
    let last: String = scalar_with(
        &stack.database,
        "SELECT concat_ws(' ', (SELECT last_number FROM data.change_counters WHERE user_id = $1),
             (SELECT count(*) FROM data.requests WHERE user_id = $1))",
        device.person.id,
    )
    .await;
    assert_eq!(
        last, "2 4",
        "the last change number; the requests of two devices, a record and a deletion"
    );
}

#[tokio::test]
async fn a_retry_gets_the_first_answer() {
    let stack = Stack::shared().await.unwrap();
    let device = Device::invent(stack).await.unwrap();
    let (id, other) = (store(&device, "one").await, store(&device, "another").await);
    let request = delete_request(&device, id, 1);
    let deleted = delete(&device.client, request.clone()).await.unwrap();
    for _ in 0..2 {
        assert_eq!(delete(&device.client, request.clone()).await.unwrap(), deleted);
        // Under another request id as well: the same device deletes the same version.
        let again = delete_request(&device, id, 1);
        assert_eq!(delete(&device.client, again.clone()).await.unwrap(), deleted);
        assert_eq!(delete(&device.client, again).await.unwrap(), deleted);
    }
    for reused in [
        DeleteRecordRequest {
            record_id: other.to_string(),
            ..request.clone()
        },
        DeleteRecordRequest {
            expected_version: 2,
            ..request.clone()
        },
    ] {
        let status = delete(&device.client, reused).await.unwrap_err();
        assert_eq!(reason(&status), "REQUEST_ID_REUSED");
    }
    // The request id cannot be used for another RPC either.
    let mut changed = device.update(other, 1, "two").unwrap();
    changed.request_id = request.request_id;
    let status = update(&device.client, changed).await.unwrap_err();
    assert_eq!(reason(&status), "REQUEST_ID_REUSED");
    assert_eq!(get(&device.client, other).await.unwrap().version, 1);
}

#[tokio::test]
async fn every_violation_is_reported() {
    let stack = Stack::shared().await.unwrap();
    let device = Device::invent(stack).await.unwrap();
    let status = delete(&device.client, DeleteRecordRequest::default())
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "INVALID_FIELD");
    let reported = violations(&status).into_iter();
    let reported: Vec<_> = reported.map(|(field, name)| format!("{field} {name}")).collect();
    let expected = [
        "request_id REQUIRED",
        "device_id REQUIRED",
        "record_id REQUIRED",
        "expected_version REQUIRED",
    ];
    assert_eq!(reported, expected);
    let unknown = delete_request(&device, random::uuid(), 1);
    let status = delete(&device.client, unknown).await.unwrap_err();
    assert_eq!(reason(&status), "NOT_FOUND");
}
