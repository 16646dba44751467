//! The device that PushChanges and ResolveConflict name: it must be one of the caller's, active, and under its newest
//! key.

use futures_util::future::join_all;
use haven_proto::{
    data::v1::{
        ChangeOutcome, ConflictResolution, RevokeDeviceRequest, RotateDeviceKeyRequest, SuspendDeviceRequest,
    },
    errors::v1::Reason,
};
use haven_testkit::{Stack, random};

use super::{
    get_record, open_conflicts, outcomes, push, push_request, resolve, send, settle_request, two_versions,
};
use crate::{status::reason, superuser_sql::execute, test_device::Device};

/// Revokes `device` through the API.
async fn revoke(device: &Device) {
    let request = RevokeDeviceRequest {
        device_id: device.id.to_string(),
        request_id: random::uuid().to_string(),
    };
    device.client.device().revoke_device(request).await.unwrap();
}

/// Rotates the key of `device`.
async fn rotate(device: &mut Device) {
    let request = RotateDeviceKeyRequest {
        device_id: device.id.to_string(),
        expected_key_version: device.key_version,
        encrypted_master_key: device.secret.wrapped().unwrap(),
        key_derivation_path: "m/44'/0'/2'".into(),
        request_id: random::uuid().to_string(),
        encrypted_label: Vec::new(),
    };
    device.client.device().rotate_device_key(request).await.unwrap();
    device.key_version += 1;
}

#[tokio::test]
async fn a_suspended_or_revoked_device_cannot_push_or_resolve() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let (lost, stolen) = (phone.another().await.unwrap(), phone.another().await.unwrap());
    let id = two_versions(&phone).await;
    let before = push_request(&lost, vec![lost.put(id, 1, "late").unwrap()]);
    let results = send(&lost, before.clone()).await.unwrap();
    let conflict = results[0].conflict_id.as_str();
    let request = SuspendDeviceRequest {
        device_id: lost.id.to_string(),
        request_id: random::uuid().to_string(),
    };
    phone.client.device().suspend_device(request).await.unwrap();
    revoke(&stolen).await;
    for device in [&lost, &stolen] {
        for change in [device.put(id, 2, "three").unwrap(), device.delete(id, 2)] {
            let status = send(device, push_request(device, vec![change]))
                .await
                .unwrap_err();
            assert_eq!(reason(&status), "DEVICE_INACTIVE");
        }
        let request = settle_request(device, id, 2, &[conflict], ConflictResolution::Delete);
        let status = resolve(device, request).await.unwrap_err();
        assert_eq!(reason(&status), "DEVICE_INACTIVE");
    }
    // A retry is answered from the stored request: nothing is applied again.
    assert_eq!(send(&lost, before).await.unwrap(), results);
    // The conflict of the suspended device is kept, and the person's other devices see it.
    assert_eq!(get_record(&phone, id).await.unwrap().version, 2);
    assert_eq!(open_conflicts(&phone, Some(id)).await.len(), 1);
    let unknown = Device {
        id: random::uuid(),
        ..phone.clone()
    };
    let status = send(&unknown, push_request(&unknown, vec![unknown.delete(id, 2)]))
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "NOT_FOUND");
    let request = settle_request(&unknown, id, 2, &[conflict], ConflictResolution::Keep);
    assert_eq!(
        reason(&resolve(&unknown, request).await.unwrap_err()),
        "NOT_FOUND"
    );
}

#[tokio::test]
async fn a_person_without_a_device_cannot_push() {
    let stack = Stack::shared().await.unwrap();
    let ada = Device::invent(stack).await.unwrap();
    let bob = stack.person().await.unwrap();
    let without_device = Device {
        client: stack.user(&bob).unwrap(),
        person: bob,
        ..ada
    };
    let request = push_request(
        &without_device,
        vec![without_device.put(random::uuid(), 0, "one").unwrap()],
    );
    assert_eq!(
        reason(&send(&without_device, request).await.unwrap_err()),
        "NOT_FOUND"
    );
}

#[tokio::test]
async fn after_a_rotation_only_changes_stored_before_are_accepted_under_the_old_key() {
    let stack = Stack::shared().await.unwrap();
    let mut phone = Device::invent(stack).await.unwrap();
    let (a, b) = (random::uuid(), random::uuid());
    let came = phone.put(a, 0, "one").unwrap();
    push(&phone, vec![came.clone()]).await;
    let late = phone.put(b, 0, "other").unwrap();
    rotate(&mut phone).await;
    let results = push(&phone, vec![came, late, phone.put(a, 1, "two").unwrap()]).await;
    let expected = [
        (ChangeOutcome::AlreadyApplied, 1),
        (ChangeOutcome::Refused, 0),
        (ChangeOutcome::Applied, 2),
    ];
    assert_eq!(outcomes(&results), expected);
    assert_eq!(results[1].reason(), Reason::KeyVersionStale);
    assert_eq!(results[1].current_key_version, 2);
    let results = push(&phone, vec![phone.put(b, 0, "other").unwrap()]).await;
    assert_eq!(outcomes(&results), [(ChangeOutcome::Applied, 1)]);
    // A deletion has no ciphertext, so it needs no key version.
    let results = push(&phone, vec![phone.delete(b, 1)]).await;
    assert_eq!(outcomes(&results), [(ChangeOutcome::Applied, 2)]);
}

#[tokio::test]
async fn a_push_concurrent_with_a_revocation_is_applied_whole_or_refused() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    for _ in 0..5 {
        let stolen = phone.another().await.unwrap();
        let ids: Vec<_> = (0..10).map(|_| random::uuid()).collect();
        let pushes = ids.iter().map(|id| {
            send(
                &stolen,
                push_request(&stolen, vec![stolen.put(*id, 0, "one").unwrap()]),
            )
        });
        let (answers, ()) = tokio::join!(join_all(pushes), revoke(&stolen));
        for (id, answer) in ids.iter().zip(answers) {
            match answer {
                Ok(results) => {
                    assert_eq!(outcomes(&results), [(ChangeOutcome::Applied, 1)]);
                    assert_eq!(get_record(&phone, *id).await.unwrap().version, 1);
                }
                Err(status) => {
                    assert_eq!(reason(&status), "DEVICE_INACTIVE");
                    assert_eq!(reason(&get_record(&phone, *id).await.unwrap_err()), "NOT_FOUND");
                }
            }
        }
        let request = push_request(&stolen, vec![stolen.put(random::uuid(), 0, "one").unwrap()]);
        assert_eq!(
            reason(&send(&stolen, request).await.unwrap_err()),
            "DEVICE_INACTIVE"
        );
    }
}

#[tokio::test]
async fn every_answer_to_a_device_with_an_overdue_rotation_has_the_due_time() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let id = two_versions(&phone).await;
    let late = push_request(&phone, vec![phone.put(id, 1, "late").unwrap()]);
    let mut cycle = phone.client.cycle();
    let due = |metadata: &tonic::metadata::MetadataMap| {
        let due = metadata.get("haven-key-rotation-due-time")?;
        Some(due.to_str().unwrap().to_owned())
    };
    let answer = cycle.push_changes(late.clone()).await.unwrap();
    assert_eq!(due(answer.metadata()), None);
    let results = answer.into_inner().results;
    let overdue = format!(
        "UPDATE data.device_key SET next_rotation_at = '2026-01-02T03:04:05Z' WHERE id = '{}'",
        phone.id
    );
    execute(&stack.database, &overdue).await;
    let expected = Some("2026-01-02T03:04:05Z".to_owned());
    // A retry, which is answered from the stored request, has the metadata as well.
    let answer = cycle.push_changes(late).await.unwrap();
    assert_eq!(due(answer.metadata()), expected);
    let listing = |device_id: String| haven_proto::data::v1::ListConflictsRequest {
        device_id,
        ..Default::default()
    };
    let answer = cycle.list_conflicts(listing(phone.id.to_string())).await.unwrap();
    assert_eq!(due(answer.metadata()), expected);
    let answer = cycle.list_conflicts(listing(String::new())).await.unwrap();
    assert_eq!(due(answer.metadata()), None);
    let conflict = results[0].conflict_id.as_str();
    let request = settle_request(&phone, id, 2, &[conflict], ConflictResolution::Keep);
    for _ in 0..2 {
        let answer = cycle.resolve_conflict(request.clone()).await.unwrap();
        assert_eq!(due(answer.metadata()), expected);
    }
    let together = super::atomic_push_request(&phone, vec![phone.delete(id, 1)]);
    let answer = cycle.push_changes(together).await.unwrap();
    assert_eq!(due(answer.metadata()), expected);
}
