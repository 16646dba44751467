//! The limits of each login, and services that reach theirs.

use std::time::Duration;

use haven_proto::data::v1::ListMessagesRequest;
use haven_testkit::{Client, Stack};
use sqlx::{Connection, PgConnection, Row};

use super::{cluster, code_and_message, installation, log::Log, shared, start};
use crate::{eventually::eventually, status::reason};

/// A login's statement_timeout, lock_timeout, idle_in_transaction_session_timeout and idle_session_timeout, and the number
/// of its connections.
type Limits = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    i32,
);

const LIMITS: [Limits; 8] = [
    ("identity_app", "30s", "5s", "15s", "0", 120),
    ("identity_worker", "30s", "5s", "15s", "0", 40),
    ("identity_owner", "2h", "10s", "1min", "10min", 4),
    ("data_app", "30s", "5s", "15s", "0", 120),
    ("data_worker", "30s", "5s", "15s", "0", 55),
    ("data_owner", "2h", "10s", "1min", "10min", 4),
    ("haven_readonly", "30s", "5s", "1min", "10min", 10),
    ("haven_monitor", "30s", "5s", "1min", "10min", 5),
];

#[tokio::test]
async fn every_login_has_its_limits() {
    let Some(stack) = shared().await else { return };
    let mut sum = 0;
    for (login, statement, lock, idle_in_transaction, idle, connections) in LIMITS {
        let mut connection = stack.database.connect(login).await.unwrap();
        let settings = "SELECT current_setting('statement_timeout'), current_setting('lock_timeout'),
            current_setting('idle_in_transaction_session_timeout'), current_setting('idle_session_timeout'),
            (SELECT rolconnlimit FROM pg_catalog.pg_roles WHERE rolname = current_user)";
        let row = sqlx::query(settings).fetch_one(&mut connection).await.unwrap();
        let time = |index: usize| row.get::<String, _>(index);
        assert_eq!(
            [time(0), time(1), time(2), time(3)],
            [statement, lock, idle_in_transaction, idle],
            "{login}"
        );
        assert_eq!(row.get::<i32, _>(4), connections, "{login}");
        sum += connections;
    }
    let mut superuser = stack.database.connect("postgres").await.unwrap();
    let available = "SELECT current_setting('max_connections')::int
        - current_setting('superuser_reserved_connections')::int";
    let available: i32 = sqlx::query_scalar(available)
        .fetch_one(&mut superuser)
        .await
        .unwrap();
    assert!(
        sum <= available,
        "{sum} connections of the logins, {available} of the server"
    );
}

#[tokio::test]
async fn services_survive_the_limits_of_their_logins() {
    let Some(installation) = installation() else {
        return;
    };
    let stack = start(installation).await;
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    at_the_connection_limit(&stack, &ada).await;
    after_idle_sessions(&stack, &ada).await;
    sessions_of_a_login_end(&stack).await;
}

/// Ends the sessions of data's requests, which then have the settings of now.
const END_SESSIONS: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE usename = 'data_app' AND application_name <> 'haven-testkit'";

async fn run(stack: &Stack, sql: &str) {
    cluster(stack).maintenance().run("postgres", sql).await.unwrap();
}

async fn list(ada: &Client) -> Result<(), tonic::Status> {
    let mut conversation = ada.conversation();
    conversation
        .list_messages(ListMessagesRequest::default())
        .await
        .map(drop)
}

async fn at_the_connection_limit(stack: &Stack, ada: &Client) {
    run(stack, "ALTER ROLE data_app CONNECTION LIMIT 3").await;
    let mut held = Vec::new();
    while held.len() < 3 {
        run(stack, END_SESSIONS).await;
        match PgConnection::connect_with(&stack.database.options("data_app")).await {
            Ok(connection) => held.push(connection),
            // The service was faster.
            Err(error) => assert_eq!(code_and_message(&error).0, "53300"),
        }
    }
    assert_eq!(reason(&list(ada).await.unwrap_err()), "DEPENDENCY_UNAVAILABLE");
    for connection in held {
        connection.close().await.unwrap();
    }
    eventually("data has connections again", async || list(ada).await.is_ok()).await;
    run(stack, "ALTER ROLE data_app CONNECTION LIMIT 120").await;
}

/// The services' logins have no idle_session_timeout, but an operator may set one.
async fn after_idle_sessions(stack: &Stack, ada: &Client) {
    let log = Log::of(stack);
    run(stack, "ALTER ROLE data_app SET idle_session_timeout = '150ms'").await;
    run(stack, END_SESSIONS).await;
    for _ in 0..5 {
        list(ada).await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    log.line(&[
        "data_app@haven",
        "FATAL",
        "terminating connection due to idle-session timeout",
    ])
    .await;
    run(stack, "ALTER ROLE data_app RESET idle_session_timeout").await;
}

async fn sessions_of_a_login_end(stack: &Stack) {
    let log = Log::of(stack);
    run(
        stack,
        "ALTER ROLE haven_readonly SET statement_timeout = '300ms';
         ALTER ROLE haven_readonly SET lock_timeout = '100ms';
         ALTER ROLE haven_readonly SET idle_in_transaction_session_timeout = '300ms';
         ALTER ROLE haven_readonly SET idle_session_timeout = '300ms'",
    )
    .await;
    let connect = async || stack.database.connect("haven_readonly").await.unwrap();
    let fails = async |sql: &'static str| {
        let error = sqlx::query(sql).execute(&mut connect().await).await.unwrap_err();
        code_and_message(&error).0
    };
    assert_eq!(fails("SELECT pg_sleep(10)").await, "57014");
    let mut superuser = stack.database.connect("postgres").await.unwrap();
    let mut locked = superuser.begin().await.unwrap();
    let lock = "LOCK TABLE data.healthcare_share IN ACCESS EXCLUSIVE MODE";
    sqlx::query(lock).execute(&mut *locked).await.unwrap();
    assert_eq!(fails("SELECT count(*) FROM data.share_metadata").await, "55P03");
    locked.rollback().await.unwrap();
    let mut idle = connect().await;
    log.line(&[
        "haven_readonly@haven",
        "terminating connection due to idle-session timeout",
    ])
    .await;
    assert!(sqlx::query("SELECT 1").execute(&mut idle).await.is_err());
    let mut idle = connect().await;
    sqlx::raw_sql("BEGIN").execute(&mut idle).await.unwrap();
    log.line(&[
        "haven_readonly@haven",
        "terminating connection due to idle-in-transaction timeout",
    ])
    .await;
    assert!(sqlx::query("SELECT 1").execute(&mut idle).await.is_err());
}
