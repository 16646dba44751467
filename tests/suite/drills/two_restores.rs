//! Two restores of one archive by pgBackRest alone, without the script that begins an epoch: each tells a history of its own.

use std::fs;

use haven_testkit::{Stack, random};

use crate::{
    backup::archive::{Archive, text},
    cycle::feed::{
        BEGINNING, catch_up, create,
        restore::{assert_expired, pull_records},
    },
    eventually::eventually,
    status::{metadata, reason},
    superuser_sql::scalar,
    test_device::Device,
};

/// The system identifier, the timeline, and the number of epochs that were begun.
const HISTORY: &str = "
    SELECT concat_ws(' ', s.system_identifier, left(pg_walfile_name(pg_current_wal_lsn()), 8),
        (SELECT count(*) FROM data.sync_epochs))
    FROM pg_control_system() AS s";

/// Restores the archive into the place of the cluster, and waits until it is open.
async fn restore(archive: &Archive, stack: &mut Stack) {
    let data = stack.cluster().unwrap().data();
    fs::remove_dir_all(&data).unwrap();
    fs::create_dir(&data).unwrap();
    archive.own(&data, 0o700);
    let restored = archive.backrest(&[
        "--type=immediate",
        "--target-action=promote",
        "--archive-mode=off",
        "restore",
    ]);
    assert!(restored.status.success(), "{}", text(&restored));
    stack.cluster().unwrap().resume().await.unwrap();
    eventually("Postgres has recovered", async || {
        !scalar::<bool>(&stack.database, "SELECT pg_is_in_recovery()").await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_of_one_restore_starts_over_with_the_other() {
    let Some((archive, installation)) = Archive::prepare() else {
        return;
    };
    let mut stack = Stack::builder()
        .production_cluster(installation)
        .start()
        .await
        .unwrap();
    let database = stack.database.clone();
    archive.attach(stack.cluster().unwrap(), &database);
    let phone = Device::invent(&stack).await.unwrap();
    create(&phone, "before the backup").await;
    let mut cursors = vec![catch_up(&phone, BEGINNING).await];
    archive.back_up("full");

    let mut histories = Vec::new();
    for content in ["in the first history", "in the second history"] {
        stack.identity.stop();
        stack.data.stop();
        stack.cluster().unwrap().stop();
        restore(&archive, &mut stack).await;
        stack.identity.start().await.unwrap();
        stack.data.start().await.unwrap();

        for cursor in &cursors {
            assert_expired(&phone, cursor, "RESTORED").await;
        }
        let change = phone.create(random::uuid(), content).unwrap();
        let refused = phone.client.cycle().create_record(change).await.unwrap_err();
        assert_eq!(reason(&refused), "CURSOR_EXPIRED");
        assert_eq!(metadata(&refused, "cause"), "RESTORED");
        let held = pull_records(&phone, BEGINNING).await.0;
        assert_eq!(held.len(), 1, "the first history is not in the second");
        cursors.push(catch_up(&phone, BEGINNING).await);
        create(&phone, content).await;
        histories.push(scalar::<String>(&database, HISTORY).await);
    }
    assert!(histories[0].ends_with(" 00000002 2"), "{histories:?}");
    assert_eq!(histories[0], histories[1], "one system, and one timeline");
}
