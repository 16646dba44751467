//! A restored database has another history: cursors of the old history expire, and devices start over.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, chown},
    path::Path,
    process::Command,
};

use futures_util::future::join_all;
use haven_testkit::{Stack, random, template::TestCluster};
use uuid::Uuid;

use super::{
    BEGINNING, Watcher, acknowledge, catch_up, contents, create, delete, pull, push, push_request, update,
};
use crate::{
    eventually::eventually,
    schema::migrations::{unmigrated, up},
    status::{metadata, reason},
    superuser_sql::{execute, scalar},
    test_device::Device,
};

/// The records of a device: version and content.
pub(crate) type Records = BTreeMap<Uuid, (i64, String)>;

/// The SQL that an operator runs after a restore.
pub(crate) const BEGIN_EPOCH: &str = "SET ROLE data_owner; SELECT data.begin_sync_epoch()";

/// Pulls after `cursor`, and returns the records and the last cursor.
pub(crate) async fn pull_records(device: &Device, cursor: &str) -> (Records, String) {
    let (entries, cursor) = pull(device, cursor).await.unwrap();
    let states = contents(device, &entries).into_iter();
    let held = states.map(|(record, version, content)| (record, (version, content.unwrap())));
    (held.collect(), cursor)
}

/// Fails unless every RPC of the feed refuses `cursor` for `cause`.
pub(crate) async fn assert_expired(device: &Device, cursor: &str, cause: &str) {
    let refused = [
        pull(device, cursor).await.map(drop).unwrap_err(),
        Watcher::start(device, cursor).await.map(drop).unwrap_err(),
        acknowledge(device, cursor).await.map(drop).unwrap_err(),
    ];
    for status in refused {
        assert_eq!(reason(&status), "CURSOR_EXPIRED");
        assert_eq!(metadata(&status, "cause"), cause);
    }
}

/// Starts over: pulls every record, and stores those again that the database lost. The test deletes no record,
/// so a missing record was lost.
pub(crate) async fn start_over(device: &Device, mine: &Records) {
    let (theirs, cursor) = pull_records(device, BEGINNING).await;
    acknowledge(device, &cursor).await.unwrap();
    for (record, (version, content)) in mine {
        let there = theirs.get(record).map_or(0, |(version, _)| *version);
        if there >= *version {
            continue;
        }
        if there == 0 {
            let request = device.create(*record, content).unwrap();
            device.client.cycle().create_record(request).await.unwrap();
        } else {
            update(device, *record, there, content).await;
        }
    }
}

/// Copies a folder with its owners and permissions.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(status.success());
}

/// Makes the cluster in `data` begin a new timeline at its next start, as after a restore from an archive.
fn request_recovery(data: &Path) {
    signal_recovery(data, "recovery.signal");
}

/// Makes the cluster in `data` recover at its next start, as the file `signal` says.
fn signal_recovery(data: &Path, signal: &str) {
    let settings = data.join("postgresql.auto.conf");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, text + "restore_command = 'false'\n").unwrap();
    let signal = data.join(signal);
    fs::write(&signal, "").unwrap();
    // Postgres removes the file, and may run as another user than this process.
    let owner = fs::metadata(data).unwrap();
    chown(signal, Some(owner.uid()), Some(owner.gid())).unwrap();
}

/// Makes the cluster of `stack` begin a new timeline, and waits until it has recovered.
pub(super) async fn begin_timeline(stack: &mut Stack) {
    let cluster = stack.cluster().unwrap();
    cluster.stop();
    request_recovery(&cluster.log().with_file_name("postgres"));
    cluster.resume().await.unwrap();
    eventually("Postgres has recovered", async || {
        !scalar::<bool>(&stack.database, "SELECT pg_is_in_recovery()").await
    })
    .await;
}

#[tokio::test]
async fn after_a_restore_devices_start_over_and_no_record_is_lost() {
    let mut stack = Stack::builder().own_cluster().start().await.unwrap();
    let phone = Device::invent(&stack).await.unwrap();
    let laptop = phone.another().await.unwrap();
    let (a, b) = (create(&phone, "a").await, create(&laptop, "b").await);
    let (_, before) = pull_records(&laptop, BEGINNING).await;

    let data = stack.cluster().unwrap().log().with_file_name("postgres");
    let backup = data.with_file_name("backup");
    stack.cluster().unwrap().stop();
    copy(&data, &backup);
    stack.cluster().unwrap().resume().await.unwrap();
    eventually("the service answers again", async || {
        pull(&phone, BEGINNING).await.is_ok()
    })
    .await;

    // Changes that the backup lacks, and that both devices have.
    update(&phone, a, 1, "a, again").await;
    let c = create(&phone, "c").await;
    catch_up(&phone, BEGINNING).await;
    let (mine, after) = pull_records(&laptop, BEGINNING).await;
    acknowledge(&laptop, &after).await.unwrap();
    assert_eq!(mine.len(), 3);

    stack.cluster().unwrap().stop();
    fs::remove_dir_all(&data).unwrap();
    fs::rename(&backup, &data).unwrap();
    request_recovery(&data);
    stack.cluster().unwrap().resume().await.unwrap();
    eventually("Postgres has recovered", async || {
        !scalar::<bool>(&stack.database, "SELECT pg_is_in_recovery()").await
    })
    .await;
    eventually("the service answers again", async || {
        pull(&phone, BEGINNING).await.is_ok()
    })
    .await;

    // The lost change numbers are given out again. A cursor of the old history would skip them.
    catch_up(&phone, BEGINNING).await;
    let (d, e) = (create(&phone, "d").await, create(&phone, "e").await);
    let last: i64 = scalar(&stack.database, "SELECT last_number FROM data.change_counters").await;
    assert_eq!(last, 4);
    for cursor in [&before, &after] {
        assert_expired(&laptop, cursor, "RESTORED").await;
    }
    start_over(&laptop, &mine).await;
    start_over(&phone, &mine).await;
    let (held_by_laptop, cursor) = pull_records(&laptop, BEGINNING).await;
    let contents: BTreeMap<_, _> = held_by_laptop
        .iter()
        .map(|(record, (_, content))| (*record, content.as_str()))
        .collect();
    let expected = [(a, "a, again"), (b, "b"), (c, "c"), (d, "d"), (e, "e")];
    assert_eq!(contents, expected.into());
    assert_eq!(
        pull_records(&phone, BEGINNING).await,
        (held_by_laptop, cursor.clone())
    );
    // Cursors of the new history are valid.
    let f = create(&phone, "f").await;
    assert!(
        pull(&laptop, &cursor).await.unwrap().0[0]
            .record
            .as_ref()
            .unwrap()
            .record_id
            == f.to_string()
    );
}

/// Postgres cannot notice that a snapshot of a disk was restored, so an operator begins a new epoch.
#[tokio::test]
async fn cursors_expire_when_an_operator_begins_an_epoch() {
    let stack = Stack::start().await.unwrap();
    let phone = Device::invent(&stack).await.unwrap();
    create(&phone, "a").await;
    let change = phone.put(random::uuid(), 0, "b").unwrap();
    let request = push_request(&phone, vec![change]);
    let mut cycle = phone.client.cycle();
    let pushed = cycle.push_changes(request.clone()).await.unwrap().into_inner();
    let (_, cursor) = pull(&phone, BEGINNING).await.unwrap();
    let mut watcher = Watcher::start(&phone, &cursor).await.unwrap();
    watcher.next().await.unwrap();
    for _ in 0..2 {
        execute(&stack.database, BEGIN_EPOCH).await;
        assert_expired(&phone, &cursor, "RESTORED").await;
    }
    assert_eq!(reason(&watcher.end().await), "CURSOR_EXPIRED");
    // A push of before is answered from the stored request.
    let again = cycle.push_changes(request).await.unwrap().into_inner();
    assert_eq!(again, pushed);
    // The retry pushed nothing more.
    let (entries, cursor) = pull(&phone, BEGINNING).await.unwrap();
    assert_eq!(entries.len(), 2);
    acknowledge(&phone, &cursor).await.unwrap();
    assert!(pull(&phone, &cursor).await.unwrap().0.is_empty());
}

/// A record that is not delivered to this device may be lost or deleted.
#[tokio::test]
async fn a_cursor_before_a_restore_and_a_purge_is_refused_with_both_causes() {
    let stack = Stack::start().await.unwrap();
    let phone = Device::invent(&stack).await.unwrap();
    let record = create(&phone, "a").await;
    let (_, early) = pull(&phone, BEGINNING).await.unwrap();
    delete(&phone, record, 1).await;
    let late = catch_up(&phone, BEGINNING).await;
    execute(&stack.database, BEGIN_EPOCH).await;
    assert_expired(&phone, &early, "RESTORED_AND_PURGED").await;
    assert_expired(&phone, &late, "RESTORED").await;
}

/// Without a new epoch, a change number that was never given out shows that a cursor is of another history.
#[tokio::test]
async fn a_cursor_with_a_number_never_given_out_is_expired() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    for content in ["a", "b"] {
        create(&phone, content).await;
    }
    let (_, cursor) = pull(&phone, BEGINNING).await.unwrap();
    // The effect of a snapshot of before the second change.
    let restore = format!(
        "DELETE FROM data.encrypted_cycle_data WHERE user_id = '{0}' AND change_number = 2;
         UPDATE data.change_counters SET last_number = 1 WHERE user_id = '{0}'",
        phone.person.id
    );
    execute(&stack.database, &restore).await;
    assert_expired(&phone, &cursor, "RESTORED").await;
}

/// Puts a copy of `backup` in the place of the cluster's directory, starts it as a restore of an archive does, and returns the
/// system identifier with the timeline.
async fn restore_copy(stack: &mut Stack, backup: &Path) -> String {
    let data = backup.with_file_name("postgres");
    stack.cluster().unwrap().stop();
    fs::remove_dir_all(&data).unwrap();
    copy(backup, &data);
    request_recovery(&data);
    stack.cluster().unwrap().resume().await.unwrap();
    eventually("Postgres has recovered", async || {
        !scalar::<bool>(&stack.database, "SELECT pg_is_in_recovery()").await
    })
    .await;
    scalar(
        &stack.database,
        "SELECT system_identifier || ' ' || left(pg_walfile_name(pg_current_wal_lsn()), 8) FROM pg_control_system()",
    )
    .await
}

/// Two restores of one archive can be of one system and have the same timeline, where the archive has not the history file of
/// the first. They tell two histories, and a device of one has to start over with the other.
#[tokio::test]
async fn two_restores_of_one_archive_with_one_timeline_have_two_epochs() {
    let mut stack = Stack::builder().own_cluster().start().await.unwrap();
    let phone = Device::invent(&stack).await.unwrap();
    create(&phone, "a").await;
    let original = catch_up(&phone, BEGINNING).await;
    let data = stack.cluster().unwrap().log().with_file_name("postgres");
    let backup = data.with_file_name("backup");
    stack.cluster().unwrap().stop();
    copy(&data, &backup);
    stack.cluster().unwrap().resume().await.unwrap();

    let mut restored = Vec::new();
    let mut cursors = vec![original];
    for _ in 0..2 {
        restored.push(restore_copy(&mut stack, &backup).await);
        eventually("the service answers again", async || {
            pull(&phone, BEGINNING).await.is_ok()
        })
        .await;
        for cursor in &cursors {
            assert_expired(&phone, cursor, "RESTORED").await;
        }
        let change = phone.put(random::uuid(), 0, "unsent").unwrap();
        let refused = push(&phone, vec![change]).await.unwrap_err();
        assert_eq!(
            (reason(&refused), metadata(&refused, "cause")),
            ("CURSOR_EXPIRED".to_owned(), "RESTORED".to_owned())
        );
        cursors.push(catch_up(&phone, BEGINNING).await);
        create(&phone, "in this history").await;
    }
    assert!(restored[0].ends_with(" 00000002"), "{restored:?}");
    assert_eq!(restored[0], restored[1], "one system and one timeline");
}

/// The first transactions of a timeline agree on one epoch, whichever begins it.
#[tokio::test]
async fn concurrent_first_calls_on_a_timeline_begin_one_epoch() {
    let stack = Stack::start().await.unwrap();
    let phone = Device::invent(&stack).await.unwrap();
    for begun in [2, 3] {
        // What the database had before its timeline.
        execute(
            &stack.database,
            "UPDATE data.sync_epochs SET timeline = timeline + 100",
        )
        .await;
        let pulled = join_all((0..12).map(|_| pull(&phone, BEGINNING))).await;
        for cursor in pulled {
            let (_, cursor) = cursor.unwrap();
            acknowledge(&phone, &cursor).await.unwrap();
        }
        let epochs: i64 = scalar(&stack.database, "SELECT count(*) FROM data.sync_epochs").await;
        assert_eq!(epochs, begun);
    }
}

/// A standby is another copy of the same history, also before it is promoted.
#[tokio::test]
async fn a_standby_tells_the_epoch_of_its_primary() {
    let mut stack = Stack::builder().own_cluster().start().await.unwrap();
    let phone = Device::invent(&stack).await.unwrap();
    create(&phone, "a").await;
    let epoch = "SELECT data.sync_epoch()";
    let of_primary: Uuid = scalar(&stack.database, epoch).await;
    assert_eq!(scalar::<Uuid>(&stack.database, epoch).await, of_primary);
    let cluster = stack.cluster().unwrap();
    cluster.stop();
    signal_recovery(&cluster.log().with_file_name("postgres"), "standby.signal");
    cluster.resume().await.unwrap();
    assert!(scalar::<bool>(&stack.database, "SELECT pg_is_in_recovery()").await);
    assert_eq!(scalar::<Uuid>(&stack.database, epoch).await, of_primary);
    execute(&stack.database, "SELECT pg_promote()").await;
    assert_ne!(scalar::<Uuid>(&stack.database, epoch).await, of_primary);
}

/// An upgrade from the migration before keeps the epoch of devices: none has to start over.
#[tokio::test]
async fn the_migration_keeps_the_epoch_of_registered_devices() {
    let template = TestCluster::shared().await.unwrap().database().await.unwrap();
    let database = unmigrated(&template).await.unwrap();
    up(&database, "data", 20_261_129_000_600).await.unwrap();
    let register = "
        WITH person AS (INSERT INTO data.users (id, created_at) VALUES (gen_random_uuid(), now()) RETURNING id)
        INSERT INTO data.device_key (user_id, id, device_id_hash, encrypted_master_key, key_derivation_path,
            next_rotation_at, platform, app_version, last_active_at, created_at)
        SELECT id, gen_random_uuid(), sha256('installation'), sha256('key'), 'm', now(), 'ios', '1.0', now(), now() FROM person";
    execute(&database, BEGIN_EPOCH).await;
    execute(&database, register).await;
    up(&database, "data", i64::MAX).await.unwrap();
    let kept: bool = scalar(&database, "SELECT epoch = data.sync_epoch() FROM data.device_key").await;
    assert!(kept);
    template.drop_database(&database.name).await.unwrap();
}

/// Two restores of one snapshot must begin two epochs.
#[tokio::test]
async fn every_epoch_has_an_id_of_its_own() {
    let stack = Stack::start().await.unwrap();
    let mut epochs = Vec::new();
    for _ in 0..2 {
        execute(&stack.database, BEGIN_EPOCH).await;
        let epoch: Uuid = scalar(&stack.database, "SELECT data.sync_epoch()").await;
        epochs.push(epoch);
        execute(&stack.database, "DELETE FROM data.sync_epochs").await;
    }
    assert_ne!(epochs[0], epochs[1]);
}
