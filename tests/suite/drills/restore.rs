//! The restore drill: a random moment of a run under load is restored beside the running cluster, and takes its place.
//!
//! `HAVEN_ROUNDS=20 cargo test --test suite -- drills::restore --nocapture` restores twenty moments of a longer run.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use chrono::{DateTime, Utc};
use haven_testkit::{Stack, cluster::Cluster};
use tokio::time::sleep;

use super::{callers, rounds};
use crate::{
    backup::archive::{Archive, text},
    cycle::feed::{
        BEGINNING, catch_up, create,
        restore::{Records, assert_expired, pull_records, start_over},
    },
    rls::run_matrix_without_people,
    test_device::Device,
    workload::Workload,
};

/// The time for which callers write, for each round.
const RUN: Duration = Duration::from_secs(5);

/// The longest run: more rounds restore moments of the same run.
const LONGEST: Duration = Duration::from_secs(60);

/// The pause of the device between two records.
const PAUSE: Duration = Duration::from_millis(200);

/// A line of `pg_hba.conf` for the matrix, which logs in as every login over the network.
const EVERY_LOGIN: &str = "hostssl haven haven_backup 127.0.0.1/32 scram-sha-256\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_moment_has_what_was_acknowledged_before_it_and_nothing_later() {
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

    // A person's two devices.
    let mut phone = Device::invent(&stack).await.unwrap();
    let mut laptop = phone.another().await.unwrap();
    let first = create(&phone, "before the backup").await;
    let mut held = Records::from([(first, (1, "before the backup".to_owned()))]);
    let cursor = catch_up(&laptop, BEGINNING).await;
    archive.back_up("full");

    let workload = Workload::start(&stack.endpoints(), &stack.database, callers());
    // The backup's own last second is not restorable.
    sleep(Duration::from_secs(2)).await;
    let from = SystemTime::now();
    let end = Instant::now() + (RUN * rounds() as u32).min(LONGEST);
    while Instant::now() < end {
        let record = create(&phone, "during the run").await;
        held.insert(record, (1, "during the run".to_owned()));
        sleep(PAUSE).await;
    }
    // The first round restores while people go on.
    let mut moment = random_moment(from);
    restore(&archive, &stack, moment, "0");
    let until = SystemTime::now();
    let journal = workload.stop().await;
    let checked = archive.backrest(&["check"]);
    assert!(checked.status.success(), "{}", text(&checked));

    for round in 0..rounds() {
        stack.identity.stop();
        stack.data.stop();
        stack.cluster().unwrap().stop();
        if round > 0 {
            moment = from + until.duration_since(from).unwrap().mul_f64(rand::random());
            restore(&archive, &stack, moment, &round.to_string());
        }
        let restored = archive.path("work").join(round.to_string());
        put_in_place(stack.cluster().unwrap(), &restored);
        stack.cluster().unwrap().resume().await.unwrap();
        stack.identity.start().await.unwrap();
        stack.data.start().await.unwrap();

        let report = journal
            .verify(&stack.endpoints(), &stack.database, Some(moment))
            .await;
        eprintln!("restored to {}: {report}", written(moment));
        report.assert_sound();

        // A token ends before many rounds do.
        let person = &phone.person;
        let person = stack
            .anonymous()
            .unwrap()
            .sign_in(&person.email, &person.password)
            .await
            .unwrap();
        for device in [&mut laptop, &mut phone] {
            device.client = stack.user(&person).unwrap();
        }
        assert_expired(&laptop, &cursor, "RESTORED").await;
        for device in [&phone, &laptop] {
            start_over(device, &held).await;
        }
        for device in [&phone, &laptop] {
            assert_eq!(
                pull_records(device, BEGINNING).await.0,
                held,
                "the devices converge"
            );
        }

        stack.identity.stop();
        stack.data.stop();
        run_matrix_without_people(&stack.database).await.unwrap();
    }
}

/// Restores `moment` with the script, beside what runs, into a directory of the archive.
fn restore(archive: &Archive, stack: &Stack, moment: SystemTime, directory: &str) {
    let secrets = &stack.own_cluster().unwrap().secrets;
    let keys = archive.write("work/message-keys", &secrets.message_keys);
    let mut command = archive.command("restore");
    command
        .env("MESSAGE_KEYS_FILE", keys)
        .args(["--stop", "--to", &written(moment), "--into"])
        .arg(archive.path("work").join(directory));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    eprintln!("{}", String::from_utf8_lossy(&output.stderr));
}

/// Puts a restored directory in the place of the cluster's, as an operator does, with its configuration files.
fn put_in_place(cluster: &Cluster, restored: &Path) {
    let data = cluster.data();
    fs::remove_dir_all(&data).unwrap();
    let moved = std::process::Command::new("cp")
        .arg("-a")
        .arg(restored)
        .arg(&data)
        .status();
    assert!(moved.unwrap().success());
    fs::remove_dir_all(restored).unwrap();
    let access = data.join("pg_hba.conf");
    let rules = fs::read_to_string(&access).unwrap();
    fs::write(&access, EVERY_LOGIN.to_owned() + &rules).unwrap();
}

/// Returns a random moment between `from` and now.
fn random_moment(from: SystemTime) -> SystemTime {
    from + from.elapsed().unwrap().mul_f64(rand::random())
}

/// Writes a time as `--to` has it.
fn written(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).format("%F %T%.6f+00").to_string()
}
