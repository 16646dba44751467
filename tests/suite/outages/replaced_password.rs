//! A password that is replaced in the file of `DATABASE_URL_FILE` while the services run.

use std::fs;

use futures_util::future::join_all;
use haven_testkit::{Stack, random};
use sqlx::{AssertSqlSafe, raw_sql};
use tempfile::TempDir;

use super::{append, retryable};
use crate::{eventually::eventually, superuser_sql::scalar};

/// Ends all sessions of data, as a change of the password alone does not.
const END_SESSIONS: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = current_database() AND usename IN ('data_app', 'data_worker')";

#[tokio::test]
async fn new_connections_use_the_new_password_without_a_restart() {
    let directory = TempDir::new().unwrap();
    let files = [
        ("DATABASE_URL", "data_app", directory.path().join("app")),
        (
            "WORKER_DATABASE_URL",
            "data_worker",
            directory.path().join("worker"),
        ),
    ];
    let mut stack = Stack::builder()
        .own_cluster()
        .without("data")
        .start()
        .await
        .unwrap();
    for (variable, _, file) in &files {
        let url = stack.data.variables.remove(*variable).unwrap();
        fs::write(file, url + "\n").unwrap();
        let path = file.to_str().unwrap().to_owned();
        stack.data.variables.insert(format!("{variable}_FILE"), path);
    }
    stack.data.launch().unwrap();
    stack.data.ready().await.unwrap();
    let person = stack.person().await.unwrap();
    let ada = stack.user(&person).unwrap();
    eventually("ada is ready", async || append(&ada).await.is_ok()).await;
    let pid = stack.data.pid();

    let mut superuser = stack.database.connect("postgres").await.unwrap();
    for (_, login, file) in &files {
        let password = random::uuid().to_string();
        let change = format!("ALTER ROLE {login} PASSWORD '{password}'");
        raw_sql(AssertSqlSafe(change))
            .execute(&mut superuser)
            .await
            .unwrap();
        scalar::<i64>(&stack.database, END_SESSIONS).await;
        if *login == "data_app" {
            let refused = append(&ada).await.unwrap_err();
            assert_eq!(retryable(&refused), "DEPENDENCY_UNAVAILABLE");
        }
        let old = fs::read_to_string(file).unwrap();
        // A file that is not usable is not used, and is no reason to stop.
        fs::write(file, "postgres://data_owner@localhost/x").unwrap();
        let _ = append(&ada).await;
        let (before, after) = old.split_once("://").unwrap();
        let (_, host) = after.split_once('@').unwrap();
        fs::write(file, format!("{before}://{login}:{password}@{host}")).unwrap();
    }
    eventually("data works with the new passwords", async || {
        append(&ada).await.is_ok()
    })
    .await;
    for outcome in join_all((0..8).map(|_| append(&ada))).await {
        outcome.unwrap();
    }
    eventually("data is ready", async || stack.data.ready().await.is_ok()).await;
    assert_eq!(stack.data.pid(), pid);
    let log = stack.data.output().unwrap();
    assert!(log.contains("the database URL was replaced"), "{log}");
    assert!(log.contains("it changes more than the password"), "{log}");
}
