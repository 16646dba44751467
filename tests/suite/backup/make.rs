//! `deploy/backup/backup`: what it does, its exit codes, its metrics, and that the passphrase stays in its file.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use haven_testkit::workspace;
use memchr::memmem;

use super::{
    archive::{Archive, text},
    start,
};

/// Runs the script with a file for metrics, and returns its exit code and its output.
fn run(archive: &Archive, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = archive.command("backup");
    command.env("METRICS_FILE", archive.path("work/haven_backup.prom"));
    let output = command.args(arguments).output().unwrap();
    (output.status.code(), text(&output))
}

/// Returns the metrics in the file that the script wrote.
fn metrics(archive: &Archive) -> BTreeMap<String, i64> {
    let file = fs::read_to_string(archive.path("work/haven_backup.prom")).unwrap();
    let samples = file.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}

/// Returns the files of the repository below `part`, by size, the largest last.
fn files(archive: &Archive, part: &str) -> Vec<PathBuf> {
    let mut files = workspace::files(&archive.path("repository").join(part)).unwrap();
    files.sort_by_key(|file| fs::metadata(file).unwrap().len());
    files
}

/// Changes a byte in the middle of a file.
fn damage(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).unwrap();
}

#[tokio::test]
async fn a_backup_is_verified_and_told_to_prometheus() {
    let Some((_cluster, _database, archive)) = start().await else {
        return;
    };
    for arguments in [[].as_slice(), &["incr"], &["full", "diff"]] {
        let (code, said) = run(&archive, arguments);
        assert_eq!(code, Some(64), "{said}");
        assert!(said.contains("the argument must be full or diff"), "{said}");
    }
    let (code, said) = run(&archive, &["full"]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = run(&archive, &["diff"]);
    assert_eq!(code, Some(0), "{said}");
    let info = archive.info();
    let stop = |index: usize| info["backup"][index]["timestamp"]["stop"].as_i64().unwrap();
    let expected = [
        (
            r#"haven_backup_last_success_timestamp_seconds{type="full"}"#,
            stop(0),
        ),
        (
            r#"haven_backup_last_success_timestamp_seconds{type="diff"}"#,
            stop(1),
        ),
        ("haven_backup_oldest_restorable_timestamp_seconds", stop(0)),
        ("haven_backup_last_run_failed", 0),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value));
    assert_eq!(metrics(&archive), expected.into());

    // A bit that the disk has lost.
    let backups = files(&archive, "backup");
    damage(backups.last().unwrap());
    let (code, said) = run(&archive, &["diff"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("the repository is not whole"), "{said}");
    assert_eq!(metrics(&archive)["haven_backup_last_run_failed"], 1);
}

#[tokio::test]
async fn a_backup_needs_a_working_archive_and_its_own_part_of_it() {
    let Some((_cluster, database, archive)) = start().await else {
        return;
    };
    let set = async |change: &str| {
        database.run("postgres", change).await.unwrap();
        database.run("postgres", "SELECT pg_reload_conf()").await.unwrap();
    };
    archive.back_up("full");
    set("ALTER SYSTEM SET archive_command = 'false'").await;
    let mut backup = archive.command("backup");
    backup.env("PGBACKREST_ARCHIVE_TIMEOUT", "2").arg("diff");
    let output = backup.output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(
        text(&output).contains("the archive does not work"),
        "{}",
        text(&output)
    );
    set("ALTER SYSTEM RESET archive_command").await;

    let start = archive.info()["backup"][0]["archive"]["start"].clone();
    let start = format!("{}-", start.as_str().unwrap());
    let segments = files(&archive, "archive");
    let segment = segments
        .iter()
        .find(|file| file.file_name().unwrap().to_string_lossy().starts_with(&start));
    fs::remove_file(segment.unwrap()).unwrap();
    let (code, said) = run(&archive, &["diff"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("the archive lacks 1 segments before"), "{said}");
}

#[tokio::test]
async fn the_repository_is_encrypted_and_no_process_shows_its_passphrase() {
    let Some((cluster, database, archive)) = start().await else {
        return;
    };
    let canary = "a-canary-for-the-repository";
    let row = format!("CREATE TABLE public.t AS SELECT '{canary}' AS t FROM generate_series(1, 1000)");
    database.run("postgres", &row).await.unwrap();
    database.run("postgres", "CHECKPOINT").await.unwrap();
    let passphrase = archive.passphrase();
    let (done, shown) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let mut seen = 0;
    let watcher = thread::spawn({
        let (done, shown, passphrase) = (Arc::clone(&done), Arc::clone(&shown), passphrase.clone());
        move || {
            while !done.load(Ordering::Relaxed) {
                for process in fs::read_dir("/proc").unwrap().flatten() {
                    let read = |file: &str| fs::read(process.path().join(file)).unwrap_or_default();
                    let (line, environment) = (read("cmdline"), read("environ"));
                    if memmem::find(&line, b"--stanza=haven").is_some() {
                        seen += 1;
                    }
                    for place in [line, environment] {
                        if memmem::find(&place, passphrase.as_bytes()).is_some() {
                            shown.store(true, Ordering::Relaxed);
                        }
                    }
                }
            }
            seen
        }
    });
    // A compressed file would hide the row too.
    let mut backup = archive.command("backup");
    let output = backup
        .env("PGBACKREST_COMPRESS_TYPE", "none")
        .arg("full")
        .output();
    assert!(output.as_ref().unwrap().status.success(), "{output:?}");
    done.store(true, Ordering::Relaxed);
    assert!(watcher.join().unwrap() > 0, "processes of pgBackRest were seen");
    assert!(
        !shown.load(Ordering::Relaxed),
        "in no command line and no environment"
    );

    let contains =
        |file: &PathBuf, text: &str| memmem::find(&fs::read(file).unwrap(), text.as_bytes()).is_some();
    let tables = workspace::files(&cluster.cluster.data().join("base")).unwrap();
    assert!(tables.iter().any(|file| contains(file, canary)), "the control");
    let repository = files(&archive, "");
    assert!(repository.len() > 10);
    for file in &repository {
        assert!(
            !contains(file, canary) && !contains(file, &passphrase),
            "{}",
            file.display()
        );
    }
}
