//! Purged records: only the id is kept, and no other record can have it.

use haven_proto::data::v1::{
    ChangeOutcome, ChangeResult, ConflictResolution, DeleteRecordRequest, ResolveConflictRequest,
    RotateDeviceKeyRequest, SuspendDeviceRequest,
};
use haven_testkit::{Stack, random};

use super::{BEGINNING, acknowledge, catch_up, create, delete, pull, push};
use crate::{
    status::{metadata, reason},
    superuser_sql::scalar_with,
    test_device::Device,
};

/// Fails unless each change is answered as one of a purged record, without a version or a conflict.
fn assert_purged(results: &[ChangeResult]) {
    for result in results {
        assert_eq!(result.outcome(), ChangeOutcome::Deleted);
        let actual = (result.version, result.change_number, result.conflict_id.as_str());
        assert_eq!(actual, (0, 0, ""));
    }
}

#[tokio::test]
async fn a_purged_record_cannot_come_back() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let mut laptop = phone.another().await.unwrap();
    let record = create(&phone, "a").await;
    let early = catch_up(&laptop, BEGINNING).await;
    let request = SuspendDeviceRequest {
        device_id: laptop.id.to_string(),
        request_id: random::uuid().to_string(),
    };
    phone.client.device().suspend_device(request).await.unwrap();
    delete(&phone, record, 1).await;
    catch_up(&phone, BEGINNING).await;
    let kept = async || {
        let sql = "SELECT count(*) FROM data.encrypted_cycle_data WHERE user_id = $1";
        scalar_with::<i64, _>(&stack.database, sql, phone.person.id).await
    };
    assert_eq!(kept().await, 0);

    let mut cycle = phone.client.cycle();
    let created = phone.create(record, "a, new").unwrap();
    let status = cycle.create_record(created).await.unwrap_err();
    assert_eq!(reason(&status), "RECORD_EXISTS");
    let updated = phone.update(record, 1, "a, again").unwrap();
    let status = cycle.update_record(updated).await.unwrap_err();
    assert_eq!(reason(&status), "NOT_FOUND");
    let deleted = DeleteRecordRequest {
        device_id: phone.id.to_string(),
        record_id: record.to_string(),
        expected_version: 2,
        request_id: random::uuid().to_string(),
    };
    let status = cycle.delete_record(deleted.clone()).await.unwrap_err();
    assert_eq!(reason(&status), "NOT_FOUND");
    // The deletion itself gets the first answer when retried.
    let again = DeleteRecordRequest {
        expected_version: 1,
        ..deleted
    };
    let version = cycle.delete_record(again).await.unwrap().into_inner().record;
    assert_eq!(version.unwrap().version, 2);
    let settled = ResolveConflictRequest {
        device_id: phone.id.to_string(),
        record_id: record.to_string(),
        expected_version: 2,
        conflict_ids: vec![random::uuid().to_string()],
        resolution: ConflictResolution::Keep.into(),
        request_id: random::uuid().to_string(),
        ..ResolveConflictRequest::default()
    };
    let status = cycle.resolve_conflict(settled).await.unwrap_err();
    assert_eq!(reason(&status), "NOT_FOUND");
    let changes = vec![
        phone.put(record, 0, "a, new").unwrap(),
        phone.put(record, 1, "a, again").unwrap(),
        phone.delete(record, 2),
    ];
    assert_purged(&push(&phone, changes).await.unwrap());

    let request = RotateDeviceKeyRequest {
        device_id: laptop.id.to_string(),
        expected_key_version: 1,
        encrypted_master_key: laptop.secret.wrapped().unwrap(),
        key_derivation_path: "m/44'/0'/2'".into(),
        request_id: random::uuid().to_string(),
        encrypted_label: Vec::new(),
    };
    phone.client.device().rotate_device_key(request).await.unwrap();
    laptop.key_version = 2;
    let status = pull(&laptop, &early).await.unwrap_err();
    assert_eq!(metadata(&status, "cause"), "PURGED");
    // The laptop knows versions of this history, so it may write, but not to the purged record. The answer to its
    // change shows it the purge, even if its cursor does not.
    let other = laptop.put(random::uuid(), 0, "b").unwrap();
    let edits = || {
        vec![
            laptop.put(record, 1, "a, by the laptop").unwrap(),
            laptop.delete(record, 1),
        ]
    };
    for edits in [edits(), edits()] {
        assert_purged(&push(&laptop, edits).await.unwrap());
    }
    let results = push(&laptop, [edits(), vec![other]].concat()).await.unwrap();
    assert_purged(&results[..2]);
    assert_eq!(
        (results[2].outcome(), results[2].version),
        (ChangeOutcome::Applied, 1)
    );
    assert_eq!(kept().await, 1);
    let (entries, late) = pull(&laptop, BEGINNING).await.unwrap();
    assert_eq!(entries.len(), 1);
    acknowledge(&laptop, &late).await.unwrap();
    assert_purged(&push(&laptop, edits()).await.unwrap());
}
