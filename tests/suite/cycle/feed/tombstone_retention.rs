//! The retention of tombstones and settled conflicts, and the answer to a device with an older cursor.

use haven_proto::data::v1::{ConflictResolution, PullChangesRequest, ResolveConflictRequest};
use haven_testkit::{Stack, random};
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    BEGINNING, LIMIT, Watcher, acknowledge, catch_up, contents, create, delete, numbers, pull, push,
    store_many, update,
};
use crate::{
    eventually::eventually,
    status::{metadata, reason},
    superuser_sql::{execute, scalar_with},
    test_device::Device,
};

/// SQL that counts the tombstones of all people.
pub(super) const COUNT_TOMBSTONES: &str =
    "SELECT count(*) FROM data.encrypted_cycle_data WHERE deleted_at IS NOT NULL";
/// SQL that makes every record a tombstone.
pub(super) const DELETE_ALL: &str = "
    UPDATE data.encrypted_cycle_data SET deleted_at = now(), encrypted_payload = NULL, envelope_version = NULL,
        algorithm = NULL, key_id = NULL, key_version = NULL, nonce = NULL, salt = NULL, kdf_memory_kib = NULL,
        kdf_iterations = NULL, kdf_parallelism = NULL, associated_data_version = NULL";

/// Returns how many tombstones and how many conflicts the person of `device` has.
async fn count_kept(stack: &Stack, device: &Device) -> (i64, i64) {
    let tombstones =
        "SELECT count(*) FROM data.encrypted_cycle_data WHERE user_id = $1 AND deleted_at IS NOT NULL";
    let conflicts = "SELECT count(*) FROM data.cycle_data_conflicts WHERE user_id = $1";
    let (database, person) = (&stack.database, device.person.id);
    (
        scalar_with(database, tombstones, person).await,
        scalar_with(database, conflicts, person).await,
    )
}

/// Pushes a change of `record` over the stale version `seen`, and returns the id of the conflict.
pub(super) async fn make_conflict(device: &Device, record: Uuid, seen: i64) -> String {
    let change = device.put(record, seen, "lost").unwrap();
    let results = push(device, vec![change]).await.unwrap();
    results[0].conflict_id.clone()
}

/// Settles a conflict with KEEP.
pub(super) async fn settle_conflict(device: &Device, record: Uuid, version: i64, conflict: String) {
    let request = ResolveConflictRequest {
        device_id: device.id.to_string(),
        record_id: record.to_string(),
        expected_version: version,
        conflict_ids: vec![conflict],
        resolution: ConflictResolution::Keep.into(),
        request_id: random::uuid().to_string(),
        ..ResolveConflictRequest::default()
    };
    device.client.cycle().resolve_conflict(request).await.unwrap();
}

/// Fails unless `cursor` is refused because changes after it were purged.
async fn assert_expired(device: &Device, cursor: &str) {
    let pulled = pull(device, cursor).await.map(drop).unwrap_err();
    let watched = Watcher::start(device, cursor).await.map(drop).unwrap_err();
    for status in [pulled, watched] {
        assert_eq!(reason(&status), "CURSOR_EXPIRED");
        assert_eq!(metadata(&status, "cause"), "PURGED");
    }
    // The device may still acknowledge what it has pulled.
    acknowledge(device, cursor).await.unwrap();
}

/// Returns the number of the newest purged change of the person of `device`.
async fn purged_number(stack: &Stack, device: &Device) -> i64 {
    let sql = "SELECT purged_number FROM data.change_counters WHERE user_id = $1";
    scalar_with(&stack.database, sql, device.person.id).await
}

#[tokio::test]
async fn tombstones_are_purged_once_every_device_has_acknowledged_them() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let laptop = phone.another().await.unwrap();
    let (a, b) = (create(&phone, "a").await, create(&phone, "b").await);
    let early = catch_up(&laptop, BEGINNING).await;
    catch_up(&phone, BEGINNING).await;
    delete(&phone, a, 1).await;
    update(&phone, b, 1, "b, again").await;
    let conflict = make_conflict(&laptop, b, 1).await;
    settle_conflict(&phone, b, 2, conflict).await;
    catch_up(&phone, BEGINNING).await;
    let kept = count_kept(stack, &phone).await;
    assert_eq!(kept, (1, 1), "the laptop has not acknowledged yet");
    let (entries, late) = pull(&laptop, &early).await.unwrap();
    let expected = [(a, 2, None), (b, 2, Some("b, again".to_owned()))];
    assert_eq!(contents(&phone, &entries), expected);
    let settled = entries.iter().find_map(|entry| entry.conflict.as_ref());
    assert!(settled.unwrap().settle_time.is_some());

    acknowledge(&laptop, &late).await.unwrap();
    let kept = count_kept(stack, &phone).await;
    assert_eq!(kept, (0, 0));
    // The cursor at the last purge misses no change; an older one would.
    assert!(pull(&laptop, &late).await.unwrap().0.is_empty());
    assert_expired(&laptop, &early).await;
    let (entries, _) = pull(&laptop, BEGINNING).await.unwrap();
    let expected = [(b, 2, Some("b, again".to_owned()))];
    assert_eq!(contents(&phone, &entries), expected);
    // The change numbers of purged entries are not given out again.
    let c = create(&phone, "c").await;
    let (entries, _) = pull(&laptop, &late).await.unwrap();
    assert_eq!(contents(&phone, &entries), [(c, 1, Some("c".to_owned()))]);
    assert!(numbers(&entries)[0] > 6, "{entries:?}");
}

#[tokio::test]
async fn a_device_that_starts_over_can_resume_an_interrupted_pull() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    store_many(stack, &phone, 1250, 1).await;
    let first = async |device: &Device| {
        let request = PullChangesRequest {
            device_id: device.id.to_string(),
            cursor: String::new(),
        };
        let answer = device.client.cycle().pull_changes(request).await.unwrap();
        let next = timeout(LIMIT, answer.into_inner().message()).await.unwrap();
        next.unwrap().expect("no answer")
    };
    let before = first(&phone).await;
    let record = create(&phone, "a").await;
    delete(&phone, record, 1).await;
    catch_up(&phone, BEGINNING).await;
    let purged = purged_number(stack, &phone).await;
    assert_eq!(purged, 1252);
    // A device that began before the purge may have pulled the record.
    assert_expired(&phone, &before.cursor).await;
    // A device that began after the purge has not: it can go on from any of its cursors.
    let mut cursor = first(&phone).await.cursor;
    for rest in [750, 250] {
        let (entries, _) = pull(&phone, &cursor).await.unwrap();
        assert_eq!(entries.len(), rest);
        let request = PullChangesRequest {
            device_id: phone.id.to_string(),
            cursor: cursor.clone(),
        };
        let answer = phone.client.cycle().pull_changes(request).await.unwrap();
        let next = timeout(LIMIT, answer.into_inner().message()).await.unwrap();
        cursor = next.unwrap().expect("no answer").cursor;
    }
    // A later purge makes the cursor of an unfinished pull expire.
    let cut_off = first(&phone).await.cursor;
    let record = create(&phone, "b").await;
    delete(&phone, record, 1).await;
    catch_up(&phone, BEGINNING).await;
    assert_expired(&phone, &cut_off).await;
}

#[tokio::test]
async fn an_acknowledgement_purges_at_most_five_hundred_tombstones() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    store_many(stack, &phone, 1200, 1).await;
    let delete_all = format!("{DELETE_ALL} WHERE user_id = '{}'", phone.person.id);
    execute(&stack.database, &delete_all).await;
    let (entries, cursor) = pull(&phone, BEGINNING).await.unwrap();
    assert_eq!(entries.len(), 1200);
    for rest in [700, 200, 0, 0] {
        acknowledge(&phone, &cursor).await.unwrap();
        assert_eq!(count_kept(stack, &phone).await.0, rest);
    }
    assert!(pull(&phone, &cursor).await.unwrap().0.is_empty());
}

/// A device that does not come back is not waited for after that.
#[tokio::test]
async fn nothing_is_kept_for_longer_than_180_days() {
    let mut stack = Stack::start().await.unwrap();
    let phone = Device::invent(&stack).await.unwrap();
    let forgotten = phone.another().await.unwrap();
    let records = [
        create(&phone, "a").await,
        create(&phone, "b").await,
        create(&phone, "c").await,
        create(&phone, "d").await,
    ];
    let early = catch_up(&forgotten, BEGINNING).await;
    let [old, young, disputed, settled] = records;
    update(&phone, settled, 1, "d, again").await;
    let conflict = make_conflict(&forgotten, settled, 1).await;
    settle_conflict(&phone, settled, 2, conflict).await;
    make_conflict(&forgotten, disputed, 0).await;
    let (_, late) = pull(&phone, BEGINNING).await.unwrap();
    for (record, version) in [(old, 1), (young, 1), (disputed, 1)] {
        delete(&phone, record, version).await;
    }
    let age = |days: u32, records: &[Uuid]| {
        let ids: Vec<_> = records.iter().map(|id| format!("'{id}'")).collect();
        let ids = ids.join(", ");
        format!(
            "UPDATE data.encrypted_cycle_data SET deleted_at = now() - interval '{days} days' + interval '1 hour'
             WHERE deleted_at IS NOT NULL AND id IN ({ids});
             UPDATE data.cycle_data_conflicts SET settled_at = now() - interval '{days} days' + interval '1 hour'
             WHERE settled_at IS NOT NULL AND record_id IN ({ids});"
        )
    };
    execute(&stack.database, &age(181, &[old, disputed, settled])).await;
    execute(&stack.database, &age(180, &[young])).await;
    // A sweep runs soon after the start.
    stack.data.kill();
    stack.data.start().await.unwrap();
    // The young tombstone stays, and so does the one with an open conflict.
    eventually("old tombstones and conflicts are purged", async || {
        count_kept(&stack, &phone).await == (2, 1)
    })
    .await;
    assert_expired(&forgotten, &early).await;
    let (entries, _) = pull(&forgotten, BEGINNING).await.unwrap();
    let mut states = contents(&phone, &entries);
    states.sort();
    let again = Some("d, again".to_owned());
    let mut expected = vec![(young, 2, None), (disputed, 2, None), (settled, 2, again)];
    expected.sort();
    assert_eq!(states, expected);
    // The deletion of `old` is the newest purged change.
    let purged = purged_number(&stack, &phone).await;
    assert_eq!(purged, 12);
    assert_expired(&phone, &late).await;
}
