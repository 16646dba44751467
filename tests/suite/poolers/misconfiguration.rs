//! What a service says when the pooler and its configuration do not fit together.

use haven_testkit::Stack;

use super::{POOL_SIZE, package};
use crate::{eventually::eventually, metrics::Metrics};

#[tokio::test]
async fn a_service_in_session_mode_does_not_start_behind_a_pooler_in_transaction_mode() {
    let Some(package) = package() else { return };
    let mut stack = Stack::builder().pooled(package, POOL_SIZE).start().await.unwrap();
    stack.data.stop();
    let mode = ("DATABASE_POOLER".to_owned(), "session".to_owned());
    stack.data.variables.extend([mode]);
    let error = stack.data.start().await.expect_err("data started");
    let error = format!("{error:#}");
    for login in ["data_app", "data_worker"] {
        let expected = format!(
            "login {login} is behind a pooler in transaction mode that does not keep prepared statements apart: set \
             DATABASE_POOLER=transaction"
        );
        assert!(error.contains(&expected), "{error}");
    }
}

#[tokio::test]
async fn a_service_does_not_listen_through_a_pooler_in_transaction_mode() {
    let Some(package) = package() else { return };
    let mut stack = Stack::builder().pooled(package, POOL_SIZE).start().await.unwrap();
    stack.data.stop();
    for (login, expected) in [
        (
            "data_worker",
            "LISTEN_DATABASE_URL leads to a pooler in transaction mode, which LISTEN does not pass",
        ),
        (
            "data_app",
            "the login of LISTEN_DATABASE_URL is data_app; it must be data_worker",
        ),
    ] {
        let variable = if login == "data_app" {
            "DATABASE_URL"
        } else {
            "WORKER_DATABASE_URL"
        };
        let url = stack.data.variables[variable].clone();
        stack.data.variables.insert("LISTEN_DATABASE_URL".to_owned(), url);
        let error = stack.data.start().await.expect_err("data started");
        let error = format!("{error:#}");
        assert!(error.contains(expected), "{error}");
        stack.data.kill();
    }
    let url = stack.database.url("data_worker");
    stack.data.variables.insert("LISTEN_DATABASE_URL".to_owned(), url);
    stack.data.start().await.unwrap();
    eventually("the service listens past the pooler", async || {
        let metrics = Metrics::read(stack.data.listeners.metrics).await;
        metrics.sum("haven_db_listening", &[]) == Some(1.0)
    })
    .await;
}

#[tokio::test]
async fn a_refused_startup_is_reported_with_the_reason() {
    let Some(package) = package() else { return };
    let mut stack = Stack::builder().pooled(package, POOL_SIZE).start().await.unwrap();
    for (change, reason) in [
        // PgBouncer does not pass this parameter on to Postgres.
        (
            "&options=-c%20jit%3Doff",
            "unsupported startup parameter: options",
        ),
        ("", "authentication failed"),
    ] {
        stack.data.stop();
        let url = stack.data.variables["WORKER_DATABASE_URL"].clone();
        let wrong = match change {
            "" => url.replacen("data_worker:", "data_worker:wrong-", 1),
            change => format!("{url}{change}"),
        };
        stack
            .data
            .variables
            .insert("WORKER_DATABASE_URL".to_owned(), wrong);
        stack.data.launch().unwrap();
        eventually(reason, async || {
            let log = stack.data.output().unwrap();
            log.contains("the database server or its pooler refused the connection") && log.contains(reason)
        })
        .await;
        assert!(stack.data.runs(), "a service waits for its database");
        stack.data.kill();
        assert!(
            !stack.data.output().unwrap().contains("wrong-"),
            "the password is in the log"
        );
        stack.data.variables.insert("WORKER_DATABASE_URL".to_owned(), url);
    }
}
