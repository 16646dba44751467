//! What Postgres writes to its log, and what it does not.

use std::{fs, path::PathBuf, time::Duration};

use haven_testkit::{Stack, random};
use sqlx::{AssertSqlSafe, Connection};

use super::{cluster, refusal, shared};
use crate::eventually::eventually;

/// The log of a cluster from a moment on.
pub(super) struct Log {
    file: PathBuf,
    from: usize,
}

impl Log {
    /// Begins at the present end of the log.
    pub(super) fn of(stack: &Stack) -> Self {
        let file = cluster(stack).cluster.log();
        let from = fs::metadata(&file).unwrap().len() as usize;
        Self { file, from }
    }

    /// Returns what was written since.
    pub(super) fn text(&self) -> String {
        let bytes = fs::read(&self.file).unwrap();
        String::from_utf8_lossy(&bytes[self.from..]).into_owned()
    }

    /// Waits for a line that has all of `parts`, and returns it.
    pub(super) async fn line(&self, parts: &[&str]) -> String {
        let find = || {
            let text = self.text();
            let mut lines = text.lines();
            lines
                .find(|line| parts.iter().all(|part| line.contains(part)))
                .map(str::to_owned)
        };
        eventually(&format!("a line of the log with {parts:?}"), async || {
            find().is_some()
        })
        .await;
        find().unwrap()
    }
}

/// Returns a word that is nowhere else.
pub(super) fn canary() -> String {
    format!("canary{}", random::uuid().simple())
}

#[tokio::test]
async fn errors_of_logins_leave_no_value_in_the_log() {
    let Some(stack) = shared().await else { return };
    let log = Log::of(stack);
    let canary = canary();
    // The primary message of each quotes the value, and so does the statement.
    let statements = [
        ("data_app", format!("SELECT '{canary}'::uuid"), "22P02"),
        ("identity_app", format!("SELECT '{canary}'::jsonb"), "22P02"),
        ("data_worker", format!("SELECT '{canary}'::timestamptz"), "22007"),
        ("identity_worker", format!("SELECT {canary}"), "42703"),
        ("haven_readonly", format!("SELECT '{canary}"), "42601"),
        ("haven_monitor", format!("SELECT * FROM \"{canary}\""), "42P01"),
        (
            "haven_admin",
            format!("CREATE ROLE a PASSWORD '{canary}"),
            "42601",
        ),
        (
            "data_owner",
            format!("DO $$ BEGIN RAISE WARNING '{canary}'; RAISE EXCEPTION '{canary}'; END $$"),
            "P0001",
        ),
        (
            "identity_owner",
            format!(
                "CREATE TABLE pg_temp.t (a text CONSTRAINT short CHECK (length(a) < 5), b text UNIQUE);
                 INSERT INTO pg_temp.t (a) VALUES ('{canary}')"
            ),
            // The owner may not create temporary tables.
            "42501",
        ),
    ];
    for (login, statement, expected) in &statements {
        let (code, _) = refusal(&stack.database, login, statement).await;
        assert_eq!(code, *expected, "{login}: {statement}");
    }
    // The control: the sessions are in the log.
    log.line(&["connection authorized", "user=haven_monitor"]).await;
    let text = log.text();
    assert!(!text.contains(&canary), "{text}");
    assert!(!text.contains("haven_monitor@haven 127.0.0.1 ERROR"), "{text}");
}

#[tokio::test]
async fn violated_constraints_leave_no_row_in_the_log() {
    let Some(stack) = shared().await else { return };
    let canary = canary();
    let create = format!("CREATE TABLE public.of_{canary} (a text CONSTRAINT unique_{canary} UNIQUE)");
    stack.database.run("postgres", &create).await.unwrap();
    let log = Log::of(stack);
    // As the superuser, whose errors are logged.
    let value = format!("private-{canary}");
    let insert = format!("INSERT INTO public.of_{canary} VALUES ('{value}'), ('{value}')");
    assert_eq!(refusal(&stack.database, "postgres", &insert).await.0, "23505");
    let line = log.line(&["ERROR", &format!("unique_{canary}")]).await;
    let expected = format!(r#"duplicate key value violates unique constraint "unique_{canary}""#);
    assert!(line.ends_with(&expected), "{line}");
    assert!(!log.text().contains(&value), "{}", log.text());
}

#[tokio::test]
async fn lock_waits_and_temporary_files_are_logged_without_values() {
    let Some(stack) = shared().await else { return };
    let log = Log::of(stack);
    let (ada, canary) = (stack.person().await.unwrap(), canary());
    let mut holder = stack.database.connect("postgres").await.unwrap();
    let mut held = holder.begin().await.unwrap();
    let lock = "SELECT FROM identity.users WHERE id = $1 FOR UPDATE";
    sqlx::query(lock).bind(ada.id).execute(&mut *held).await.unwrap();
    let waiting = format!(
        "SET lock_timeout = '2500ms'; UPDATE identity.users SET goals = goals WHERE email <> '{canary}' AND id = '{}'",
        ada.id
    );
    assert_eq!(refusal(&stack.database, "postgres", &waiting).await.0, "55P03");
    held.rollback().await.unwrap();
    log.line(&["still waiting for"]).await;
    // The sort does not fit into memory.
    let sort = format!(
        "SET work_mem = '64kB';
         SELECT count(*) FROM (SELECT repeat('{canary}', 20) || n AS a FROM generate_series(1, 100000) AS n ORDER BY a DESC) AS t"
    );
    let mut superuser = stack.database.connect("postgres").await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sort))
        .execute(&mut superuser)
        .await
        .unwrap();
    log.line(&["temporary file"]).await;
    let text = log.text();
    assert!(
        !text.contains(&canary) && !text.contains(&ada.id.to_string()),
        "{text}"
    );
}

#[tokio::test]
async fn a_failing_archive_command_is_named_and_the_services_go_on() {
    let Some(stack) = shared().await else { return };
    let log = Log::of(stack);
    // pgBackRest is not in the server's PATH here.
    stack
        .database
        .run("postgres", "SELECT pg_switch_wal()")
        .await
        .unwrap();
    log.line(&["pgbackrest", "not found"]).await;
    log.line(&["archive command failed"]).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    stack.person().await.unwrap();
}
