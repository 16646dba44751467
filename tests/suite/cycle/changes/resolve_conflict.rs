//! ResolveConflict: KEEP, REPLACE and DELETE, and records brought back.

use haven_proto::data::v1::{ChangeOutcome, ConflictResolution, ResolveConflictRequest, SyncStatus};
use haven_testkit::{Stack, random};
use uuid::Uuid;

use super::{
    get_record, open_conflicts, outcomes, push, replace_request, resolve, settle_request, two_versions,
};
use crate::{
    status::{metadata, reason, violations},
    superuser_sql::{execute, scalar_with},
    test_device::Device,
};

/// Returns a record of version 2 with `count` conflicts.
async fn record_with_conflicts(phone: &Device, count: usize) -> (Uuid, Vec<String>) {
    let id = two_versions(phone).await;
    let late = (0..count).map(|i| phone.put(id, 1, &format!("late {i}")).unwrap());
    let results = push(phone, late.collect()).await;
    (id, results.into_iter().map(|result| result.conflict_id).collect())
}

fn ids(conflicts: &[String]) -> Vec<&str> {
    conflicts.iter().map(String::as_str).collect()
}

#[tokio::test]
async fn keep_leaves_the_record_unchanged() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let (id, late) = record_with_conflicts(&phone, 3).await;
    let before = get_record(&phone, id).await.unwrap();
    // Settles two of three: the third stays open.
    let request = settle_request(&phone, id, 2, &ids(&late[..2]), ConflictResolution::Keep);
    let answer = resolve(&phone, request).await.unwrap();
    let record_version = answer.record.unwrap();
    assert_eq!(
        (
            record_version.record_id,
            record_version.version,
            answer.open_conflicts
        ),
        (id.to_string(), 2, 1)
    );
    assert_eq!(
        get_record(&phone, id).await.unwrap().sync_status(),
        SyncStatus::Conflict
    );
    let left: Vec<_> = open_conflicts(&phone, Some(id)).await;
    assert_eq!(
        left.iter().map(|one| &one.conflict_id).collect::<Vec<_>>(),
        [&late[2]]
    );
    let request = settle_request(&phone, id, 2, &ids(&late[2..]), ConflictResolution::Keep);
    let answer = resolve(&phone, request).await.unwrap();
    assert_eq!((answer.record.unwrap().version, answer.open_conflicts), (2, 0));
    let after = get_record(&phone, id).await.unwrap();
    assert_eq!(after.sync_status(), SyncStatus::Pending);
    assert_eq!(
        (after.version, &after.encrypted_payload),
        (2, &before.encrypted_payload)
    );
    assert_eq!(after.update_time, before.update_time);
    // Each settled conflict takes a change number, and the record takes the next one, so the feed delivers both.
    assert_eq!(after.change_number, before.change_number + 5);
    assert_eq!(open_conflicts(&phone, Some(id)).await, []);
    let numbers = "SELECT count(DISTINCT change_number) FROM data.cycle_data_conflicts
        WHERE user_id = $1 AND settled_at IS NOT NULL";
    assert_eq!(
        scalar_with::<i64, _>(&stack.database, numbers, phone.person.id).await,
        3
    );
}

#[tokio::test]
async fn replace_makes_the_next_version() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let tablet = phone.another().await.unwrap();
    let (id, late) = record_with_conflicts(&phone, 2).await;
    let request = replace_request(&tablet, id, 2, &ids(&late), "both in one");
    let answer = resolve(&tablet, request.clone()).await.unwrap();
    let version = answer.record.clone().unwrap();
    assert_eq!((version.version, answer.open_conflicts), (3, 0));
    let held = get_record(&phone, id).await.unwrap();
    assert_eq!((held.version, held.change_number), (3, version.change_number));
    assert_eq!(held.device_id, tablet.id.to_string());
    assert_eq!(
        (held.local_time, held.update_time),
        (request.local_time, version.change_time)
    );
    assert_eq!(phone.open(&held).unwrap(), "both in one");
    // The resolution makes a version like any other: changes over it are applied, and changes over an older one lose.
    let results = push(&phone, vec![phone.put(id, 2, "late again").unwrap()]).await;
    assert_eq!(outcomes(&results), [(ChangeOutcome::Conflict, 3)]);
    let results = push(&phone, vec![phone.put(id, 3, "next").unwrap()]).await;
    assert_eq!(outcomes(&results), [(ChangeOutcome::Applied, 4)]);
}

#[tokio::test]
async fn delete_deletes_the_record_and_replace_brings_it_back() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let tablet = phone.another().await.unwrap();
    let (id, late) = record_with_conflicts(&phone, 1).await;
    let request = settle_request(&phone, id, 2, &ids(&late), ConflictResolution::Delete);
    let answer = resolve(&phone, request).await.unwrap();
    assert_eq!((answer.record.unwrap().version, answer.open_conflicts), (3, 0));
    assert_eq!(reason(&get_record(&phone, id).await.unwrap_err()), "NOT_FOUND");
    // The tablet changed the record meanwhile: its change becomes a conflict although the record is deleted.
    let results = push(&tablet, vec![tablet.put(id, 2, "dear to me").unwrap()]).await;
    assert_eq!(outcomes(&results), [(ChangeOutcome::Deleted, 3)]);
    let kept = results[0].conflict_id.as_str();
    // DELETE on a deleted record settles the conflict and changes nothing else.
    let other = push(&tablet, vec![tablet.put(id, 3, "once more").unwrap()]).await;
    assert_eq!(outcomes(&other), [(ChangeOutcome::Deleted, 3)]);
    let request = settle_request(
        &phone,
        id,
        3,
        &[&other[0].conflict_id],
        ConflictResolution::Delete,
    );
    let answer = resolve(&phone, request).await.unwrap();
    assert_eq!((answer.record.unwrap().version, answer.open_conflicts), (3, 1));
    assert_eq!(reason(&get_record(&phone, id).await.unwrap_err()), "NOT_FOUND");
    // REPLACE brings the record back.
    let answer = resolve(&phone, replace_request(&phone, id, 3, &[kept], "dear to me"))
        .await
        .unwrap();
    assert_eq!((answer.record.unwrap().version, answer.open_conflicts), (4, 0));
    let held = get_record(&tablet, id).await.unwrap();
    assert_eq!((held.version, held.delete_time), (4, None));
    assert_eq!(tablet.open(&held).unwrap(), "dear to me");
    assert_eq!(held.sync_status(), SyncStatus::Pending);
}

#[tokio::test]
async fn a_resolution_names_the_current_version_and_open_conflicts() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let (id, late) = record_with_conflicts(&phone, 2).await;
    let (other, others) = record_with_conflicts(&phone, 1).await;
    let keep =
        |seen, conflicts: &[&str]| settle_request(&phone, id, seen, conflicts, ConflictResolution::Keep);
    let refused = async |request| {
        let status = resolve(&phone, request).await.unwrap_err();
        (reason(&status), metadata(&status, "current_version"))
    };
    let stale = ("VERSION_CONFLICT".to_owned(), "2".to_owned());
    assert_eq!(refused(keep(1, &ids(&late))).await, stale);
    assert_eq!(refused(keep(3, &ids(&late))).await, stale);
    assert_eq!(
        refused(replace_request(&phone, id, 1, &ids(&late), "new")).await,
        stale
    );
    let unknown = random::uuid().to_string();
    let not_found = ("NOT_FOUND".to_owned(), String::new());
    assert_eq!(refused(keep(2, &[&unknown])).await, not_found);
    assert_eq!(refused(keep(2, &[&late[0], &unknown])).await, not_found);
    // A conflict of another record.
    assert_eq!(refused(keep(2, &[&late[0], &others[0]])).await, not_found);
    let no_record = settle_request(&phone, random::uuid(), 2, &ids(&late), ConflictResolution::Keep);
    assert_eq!(refused(no_record).await, not_found);
    // The refused resolutions settled no conflict.
    assert_eq!(open_conflicts(&phone, Some(id)).await.len(), 2);
    assert_eq!(open_conflicts(&phone, Some(other)).await.len(), 1);
    // A conflict made in between stays open, and a settled conflict is not settled again.
    let meanwhile = push(&phone, vec![phone.put(id, 1, "meanwhile").unwrap()]).await;
    let answer = resolve(&phone, keep(2, &ids(&late))).await.unwrap();
    assert_eq!(answer.open_conflicts, 1);
    assert_eq!(refused(keep(2, &ids(&late[..1]))).await, not_found);
    let left = open_conflicts(&phone, Some(id)).await;
    assert_eq!(left[0].conflict_id, meanwhile[0].conflict_id);
}

#[tokio::test]
async fn a_replacement_needs_a_new_nonce_and_the_newest_key() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let id = two_versions(&phone).await;
    // The second change lost although a version 2 exists: its base lost.
    let chain = vec![
        phone.put(id, 1, "late").unwrap(),
        phone.put(id, 2, "later").unwrap(),
    ];
    let results = push(&phone, chain.clone()).await;
    let both: Vec<_> = results.iter().map(|result| result.conflict_id.as_str()).collect();
    // The conflict's ciphertext was encrypted for the version that the resolution makes, but its nonce is used already.
    let same = ResolveConflictRequest {
        encrypted_payload: chain[1].encrypted_payload.clone(),
        crypto_envelope: chain[1].crypto_envelope.clone(),
        local_time: chain[1].local_time,
        ..replace_request(&phone, id, 2, &both, "later")
    };
    let status = resolve(&phone, same.clone()).await.unwrap_err();
    assert_eq!(reason(&status), "NONCE_REUSED");
    let other = ResolveConflictRequest {
        encrypted_payload: chain[0].encrypted_payload.clone(),
        ..same
    };
    assert_eq!(reason(&resolve(&phone, other).await.unwrap_err()), "NONCE_REUSED");
    assert_eq!(open_conflicts(&phone, Some(id)).await.len(), 2);
    // The content must be encrypted under the newest key of the device.
    let newer = Device {
        key_version: 2,
        ..phone.clone()
    };
    let request = replace_request(&newer, id, 2, &both, "later");
    let status = resolve(&phone, request).await.unwrap_err();
    assert_eq!(reason(&status), "ENVELOPE_INVALID");
    let expected = [(
        "crypto_envelope.key_version".to_owned(),
        "KEY_VERSION_UNKNOWN".to_owned(),
    )];
    assert_eq!(violations(&status), expected);
    let rotate = format!(
        "UPDATE data.device_key SET key_version = 2 WHERE id = '{}'",
        phone.id
    );
    execute(&stack.database, &rotate).await;
    let request = replace_request(&phone, id, 2, &both, "later");
    let status = resolve(&phone, request).await.unwrap_err();
    assert_eq!(reason(&status), "KEY_VERSION_STALE");
    assert_eq!(metadata(&status, "current_key_version"), "2");
    assert_eq!(open_conflicts(&phone, Some(id)).await.len(), 2);
    let answer = resolve(&newer, replace_request(&newer, id, 2, &both, "later"))
        .await
        .unwrap();
    assert_eq!(answer.open_conflicts, 0);
    assert_eq!(
        newer.open(&get_record(&newer, id).await.unwrap()).unwrap(),
        "later"
    );
}
