//! Logical dumps under forced Row Level Security: what fails, what silently leaves rows out, and what is complete.

use std::{
    collections::BTreeMap,
    fs,
    process::{Command, Stdio},
};

use haven_testkit::{database::Database, workspace};
use sqlx::AssertSqlSafe;

use super::{
    archive::{Archive, text},
    start, tables,
};
use crate::{packages, rls};

/// Returns the number of rows of each table.
async fn counts(database: &Database) -> BTreeMap<String, i64> {
    let mut superuser = database.connect("postgres").await.unwrap();
    let mut counts = BTreeMap::new();
    for table in tables(database).await {
        let sql = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut superuser).await.unwrap();
        counts.insert(table, count);
    }
    counts
}

/// Returns a command of the script, with the passphrase in `secret`.
fn dump(archive: &Archive, secret: &str) -> Command {
    let mut command = archive.command("dump");
    command.env("DUMP_PASSPHRASE_FILE", archive.path("work").join(secret));
    command
}

/// Decrypts `file`, and restores it into `database` as the superuser, over the socket.
fn restore(archive: &Archive, file: &str, database: &str) {
    let mut decrypt = dump(archive, "secret")
        .args(["--decrypt", file])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut restore = archive.command("pg_restore");
    restore.args([
        "--username=postgres",
        "--exit-on-error",
        "--single-transaction",
        "--dbname",
        database,
    ]);
    let output = restore.stdin(decrypt.stdout.take().unwrap()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert!(decrypt.wait().unwrap().success());
}

#[tokio::test]
async fn only_a_dump_that_row_level_security_does_not_filter_is_complete() {
    let gpg = Command::new("gpg-agent").arg("--version").output();
    if packages::or_skip(&["gpg", "gpg-agent"], gpg.map_err(Into::into)).is_none() {
        return;
    }
    let Some((cluster, database, archive)) = start().await else {
        return;
    };
    rls::seed_people(&database).await.unwrap();
    let before = counts(&database).await;
    assert!(before["data.conversations"] > 0, "{before:?}");

    // The owner of the tables is subject to their policies. pg_dump notices …
    let owner = |options: &[&str]| {
        let mut pg_dump = archive.command("pg_dump");
        pg_dump.envs(database.libpq("data_owner")).arg("--schema=data");
        pg_dump.args(options).output().unwrap()
    };
    let refused = owner(&[]);
    assert!(!refused.status.success());
    let message = "query would be affected by row-level security policy";
    assert!(text(&refused).contains(message), "{}", text(&refused));
    // … and with this option says nothing, and leaves people's rows out.
    let empty = owner(&["--data-only", "--inserts", "--enable-row-security"]);
    assert!(empty.status.success(), "{}", text(&empty));
    assert!(
        !text(&empty).contains("INSERT INTO data.conversations"),
        "{}",
        text(&empty)
    );

    // The script refuses a login that sees less, a missing passphrase, and a file that exists.
    archive.write("work/secret", "a passphrase");
    let refused = dump(&archive, "secret")
        .envs(database.libpq("haven_readonly"))
        .arg("dump")
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(64), "{}", text(&refused));
    assert!(
        text(&refused).contains("neither is a superuser nor has BYPASSRLS"),
        "{}",
        text(&refused)
    );
    let refused = dump(&archive, "no such file").arg("dump").output().unwrap();
    assert_eq!(refused.status.code(), Some(64), "{}", text(&refused));
    let made = dump(&archive, "secret").arg("dump").output().unwrap();
    assert!(made.status.success(), "{}", text(&made));
    let again = dump(&archive, "secret").arg("dump").output().unwrap();
    assert_eq!(again.status.code(), Some(64), "{}", text(&again));

    // README.md has the steps of the restore.
    let maintenance = cluster.maintenance();
    let create = "CREATE DATABASE restored OWNER haven_admin";
    maintenance.run("postgres", create).await.unwrap();
    restore(&archive, "dump", "restored");
    let mut restored = (*database).clone();
    restored.name = "restored".to_owned();
    // pg_hba.conf lets the superuser alone into another database.
    let scripts = fs::read_to_string(workspace::root().join("migrations/cluster/0002_database.sql")).unwrap();
    let scripts = format!("SET SESSION AUTHORIZATION haven_admin; {scripts}");
    restored.run("postgres", &scripts).await.unwrap();
    assert_eq!(counts(&restored).await, before);

    // A changed byte is noticed.
    let file = archive.path("work/dump");
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    let refused = dump(&archive, "secret")
        .args(["--decrypt", "dump"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused).contains("cannot be decrypted"),
        "{}",
        text(&refused)
    );
}
