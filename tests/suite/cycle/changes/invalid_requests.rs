//! Invalid requests to PushChanges, ResolveConflict and ListConflicts are refused with every violation, named by its
//! path.

use haven_proto::data::v1::{
    Change, ConflictResolution, ListConflictsRequest, PushChangesRequest, ResolveConflictRequest,
};
use haven_testkit::{Stack, random};
use tonic::Status;

use super::{atomic_push_request, get_record, open_conflicts, push_request, resolve, send, settle_request};
use crate::{
    status::{metadata, reason, violations},
    test_device::Device,
};

/// Returns the reason and every violation as "field name".
fn named(status: &Status) -> (String, Vec<String>) {
    let reported = violations(status).into_iter();
    let named = reported.map(|(field, name)| format!("{field} {name}"));
    (reason(status), named.collect())
}

#[tokio::test]
async fn every_violation_is_reported_at_once() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let status = send(&phone, PushChangesRequest::default()).await.unwrap_err();
    let expected = [
        "request_id REQUIRED",
        "device_id REQUIRED",
        "mode REQUIRED",
        "changes REQUIRED",
    ];
    assert_eq!(
        named(&status),
        ("INVALID_FIELD".into(), expected.map(str::to_owned).to_vec())
    );
    let id = random::uuid();
    let good = phone.put(id, 0, "one").unwrap();
    let mut of_another = phone.put(id, 1, "two").unwrap();
    of_another.crypto_envelope.as_mut().unwrap().key_id = random::uuid().to_string();
    let without_time = Change {
        local_time: None,
        ..good.clone()
    };
    let request = push_request(&phone, vec![good, of_another, without_time, Change::default()]);
    let status = send(&phone, request).await.unwrap_err();
    let expected = [
        "changes[1].crypto_envelope.key_id KEY_OF_ANOTHER_DEVICE",
        "changes[2].local_time REQUIRED",
        "changes[3].record_id REQUIRED",
        "changes[3].kind REQUIRED",
    ];
    assert_eq!(
        named(&status),
        ("ENVELOPE_INVALID".into(), expected.map(str::to_owned).to_vec())
    );
    // No change of an invalid push is applied, in either mode.
    assert_eq!(reason(&get_record(&phone, id).await.unwrap_err()), "NOT_FOUND");
    let status = resolve(&phone, ResolveConflictRequest::default())
        .await
        .unwrap_err();
    let expected = [
        "request_id REQUIRED",
        "device_id REQUIRED",
        "record_id REQUIRED",
        "expected_version REQUIRED",
        "conflict_ids REQUIRED",
        "resolution REQUIRED",
    ];
    assert_eq!(
        named(&status),
        ("INVALID_FIELD".into(), expected.map(str::to_owned).to_vec())
    );
    let incomplete = settle_request(&phone, id, 1, &["x"], ConflictResolution::Replace);
    let (reason, _) = named(&resolve(&phone, incomplete).await.unwrap_err());
    assert_eq!(reason, "ENVELOPE_INVALID");
    let listing = ListConflictsRequest {
        page_size: -1,
        record_id: "x".into(),
        device_id: "x".into(),
        page_token: "x".into(),
    };
    let status = phone.client.cycle().list_conflicts(listing).await.unwrap_err();
    let expected = [
        "page_size NEGATIVE",
        "record_id NOT_A_UUID",
        "device_id NOT_A_UUID",
    ];
    assert_eq!(
        named(&status),
        ("INVALID_FIELD".into(), expected.map(str::to_owned).to_vec())
    );
}

#[tokio::test]
async fn a_push_with_very_many_violations_gets_the_first_ones_and_the_number_of_the_others() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let id = random::uuid();
    let mut wrong = phone.put(id, -1, "one").unwrap();
    wrong.record_id = "x".into();
    wrong.local_time = None;
    wrong.encrypted_payload.truncate(3);
    let envelope = wrong.crypto_envelope.as_mut().unwrap();
    *envelope = haven_proto::data::v1::CryptoEnvelope {
        key_id: "x".into(),
        ..Default::default()
    };
    let status = send(&phone, push_request(&phone, vec![wrong; 100]))
        .await
        .unwrap_err();
    let (reason, violations) = named(&status);
    assert_eq!(reason, "ENVELOPE_INVALID");
    let omitted: usize = metadata(&status, "violations_omitted").parse().unwrap();
    let of_one = violations
        .iter()
        .filter(|one| one.starts_with("changes[0]."))
        .count();
    assert_eq!(violations.len() + omitted, 100 * of_one);
    assert!(violations.len() >= 15, "{violations:?}");
    assert_eq!(violations[0], "changes[0].record_id NOT_A_UUID");
}

#[tokio::test]
async fn a_push_has_at_most_100_changes_and_a_mebibyte() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let changes = |many| {
        let new = |_| phone.put(random::uuid(), 0, "one").unwrap();
        (0..many).map(new).collect::<Vec<_>>()
    };
    let status = send(&phone, atomic_push_request(&phone, changes(101)))
        .await
        .unwrap_err();
    assert_eq!(
        named(&status),
        ("INVALID_FIELD".into(), vec!["changes TOO_MANY".to_owned()])
    );
    assert_eq!(
        send(&phone, atomic_push_request(&phone, changes(100)))
            .await
            .unwrap()
            .len(),
        100
    );
    let largest = "x".repeat(65_536 - 16);
    let large = (0..16).map(|_| phone.put(random::uuid(), 0, &largest).unwrap());
    let status = send(&phone, push_request(&phone, large.collect()))
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "MESSAGE_TOO_LARGE");
    assert_eq!(open_conflicts(&phone, None).await, []);
}
