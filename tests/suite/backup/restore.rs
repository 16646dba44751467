//! `deploy/backup/restore`: moments, errors, and a verification that can fail.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
    time::Duration,
};

use haven_testkit::{database::Database, secrets::SUPERUSER, template::TestCluster};

use super::{
    archive::{Archive, text},
    start,
};
use crate::superuser_sql::scalar;

/// Returns a command that restores `to` into `directory` below the archive's own.
fn restore(archive: &Archive, cluster: &TestCluster, to: &str, directory: &str) -> Command {
    let keys = archive.write("work/message-keys", &cluster.secrets.message_keys);
    let mut command = archive.command("restore");
    command.env("MESSAGE_KEYS_FILE", keys);
    command
        .args(["--to", to, "--into"])
        .arg(archive.path("work").join(directory));
    command
}

/// Fails unless the command ends with `code` and says `part`.
fn assert_refused(mut command: Command, code: i32, part: &str) {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{}", text(&output));
    assert!(text(&output).contains(part), "{part}: {}", text(&output));
}

/// Adds a row, and returns a moment after it and before the next one, as `--to` has it.
async fn moment(database: &Database, row: i32) -> String {
    let insert = format!("INSERT INTO public.moments VALUES ({row})");
    database.run(SUPERUSER, &insert).await.unwrap();
    let now: String = scalar(
        database,
        "SELECT to_char(clock_timestamp(), 'YYYY-MM-DD HH24:MI:SS.USOF')",
    )
    .await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    now
}

/// Returns the socket's directory of the copy that a restore left running.
fn socket(output: &Output) -> String {
    let said = text(output);
    assert!(output.status.success(), "{said}");
    let (_, rest) = said.split_once("--host=").expect("the copy runs");
    rest.split_whitespace().next().unwrap().to_owned()
}

/// Returns what `sql` selects in the copy, and stops it.
fn ask_and_stop(archive: &Archive, output: &Output, directory: &str, sql: &str) -> String {
    let socket = socket(output);
    let mut psql = archive.command("psql");
    psql.args([
        "--no-psqlrc",
        "--no-align",
        "--tuples-only",
        "--username=postgres",
        "--port=5432",
    ])
    .args([&format!("--host={socket}"), "--dbname=haven", "--command", sql]);
    let answer = psql.output().unwrap();
    stop(archive, directory);
    fs::remove_dir_all(socket).unwrap();
    text(&answer).trim().to_owned()
}

fn stop(archive: &Archive, directory: &str) {
    let mut stop = archive.command("pg_ctl");
    stop.args(["stop", "--mode=immediate", "--pgdata"])
        .arg(archive.path("work").join(directory));
    let output = stop.output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

#[tokio::test]
async fn moments_are_restored_and_others_are_refused_with_the_reason() {
    let Some((mut cluster, database, archive)) = start().await else {
        return;
    };
    let rows = "SELECT string_agg(n::text, ' ' ORDER BY n) FROM public.moments";
    database
        .run(SUPERUSER, "CREATE TABLE public.moments (n int)")
        .await
        .unwrap();
    let early = moment(&database, 0).await;
    assert_refused(
        restore(&archive, &cluster, &early, "a"),
        2,
        "the repository has no backup",
    );
    archive.back_up("full");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let one = moment(&database, 1).await;
    let two = moment(&database, 2).await;

    for (to, code, part) in [
        (
            "yesterday",
            64,
            "--to must be latest, or a time with its offset from UTC",
        ),
        (
            "2026-11-28 12:34:56",
            64,
            "--to must be latest, or a time with its offset from UTC",
        ),
        ("2026-02-30 12:34:56+00", 64, "is not a time of the calendar"),
        ("2126-11-28 12:34:56+00", 2, "is in the future"),
        (
            &early,
            2,
            "is before the oldest backup; the oldest moment that can be restored is 20",
        ),
    ] {
        assert_refused(restore(&archive, &cluster, to, "a"), code, part);
    }
    assert_refused(restore(&archive, &cluster, &one, "."), 64, "is not empty");
    let mut keyless = restore(&archive, &cluster, &one, "a");
    keyless.env_remove("MESSAGE_KEYS_FILE");
    assert_refused(keyless, 64, "MESSAGE_KEYS_FILE is not set");
    let passphrase = archive.passphrase();
    archive.set_passphrase("");
    assert_refused(
        restore(&archive, &cluster, &one, "a"),
        64,
        "the passphrase of the repository is missing",
    );
    archive.set_passphrase("another passphrase");
    assert_refused(
        restore(&archive, &cluster, &one, "a"),
        64,
        "is the passphrase that of this repository?",
    );
    archive.set_passphrase(&passphrase);
    assert!(
        !archive.path("work/a").exists(),
        "a refused restore leaves nothing"
    );

    // No transaction follows the second row, and the restore finds its moment nevertheless.
    let timeline = "SELECT current_setting('archive_mode') || ' ' || (SELECT count(*) FROM data.sync_epochs)
                    || ' ' || ("
        .to_owned()
        + rows
        + ")";
    for (directory, to, expected) in [("one", &one, "off 1 0 1"), ("two", &two, "off 1 0 1 2")] {
        let output = restore(&archive, &cluster, to, directory).output().unwrap();
        let said = text(&output);
        for part in [
            "files 100 %",
            "sync epoch 1 begun",
            "pass  data: every sealed row has its key",
            "pass  rows: 0 accounts",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert_eq!(ask_and_stop(&archive, &output, directory, &timeline), expected);
    }
    // It stays off with the configuration files of production.
    let settings = fs::read_to_string(archive.path("work/two/postgresql.auto.conf")).unwrap();
    assert!(settings.contains("archive_mode = 'off'"), "{settings}");
    // A standby of the copy does not stop at the moment.
    for setting in ["recovery_target", "restore_command"] {
        assert!(!settings.contains(setting), "{setting}: {settings}");
    }
    // The copies archived nothing, and have told the archiver of the cluster that they may become about their history.
    let archived = text(&archive.backrest(&["--recurse", "repo-ls", "archive/haven"]));
    assert!(archived.contains("/0000000100000000"), "{archived}");
    assert!(!archived.contains("/00000002"), "{archived}");
    assert!(
        archive
            .path("work/two/pg_wal/archive_status/00000002.history.ready")
            .exists()
    );
    // The cluster itself is as it was.
    assert_eq!(scalar::<String>(&database, rows).await, "0 1 2");

    // The machine of the cluster is gone, with what it had not archived.
    cluster.cluster.kill();
    let late = chrono::Utc::now().format("%F %T+00").to_string();
    assert_refused(
        restore(&archive, &cluster, &late, "late"),
        2,
        "is after the end of the archive; its last transaction was at 20",
    );
    let latest = restore(&archive, &cluster, "latest", "late").output().unwrap();
    assert!(
        text(&latest).contains("no running cluster answers"),
        "{}",
        text(&latest)
    );
    assert_eq!(ask_and_stop(&archive, &latest, "late", rows), "0 1 2");
}

#[tokio::test]
async fn a_copy_without_forced_row_security_or_with_a_stray_right_fails_its_verification() {
    let Some((cluster, database, archive)) = start().await else {
        return;
    };
    let broken = "ALTER TABLE data.users NO FORCE ROW LEVEL SECURITY; GRANT identity_service TO identity_app;
                  ALTER TABLE identity.users OWNER TO data_owner";
    database.run(SUPERUSER, broken).await.unwrap();
    archive.back_up("full");
    let output = restore(&archive, &cluster, "latest", "a")
        .arg("--stop")
        .output()
        .unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in [
        "row-security-forced",
        "memberships",
        "owners",
        "do not put the copy into service",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(
        said.contains("pass  identity: the audit log's chains are whole"),
        "{said}"
    );
    let pid: PathBuf = archive.path("work/a/postmaster.pid");
    assert!(!pid.exists(), "--stop stops it");
}
