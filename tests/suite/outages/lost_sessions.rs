//! Sessions of Postgres that an administrator or a time limit ended while they were idle in a pool.

use std::time::Duration;

use futures_util::future::join_all;
use haven_testkit::Stack;
use sqlx::{AssertSqlSafe, raw_sql};

use super::append;
use crate::{eventually::eventually, superuser_sql::scalar};

/// Number of concurrent calls, for which data opens several connections.
const CALLS: usize = 8;

const SESSIONS: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND usename IN ('data_app', 'identity_app')";

#[tokio::test]
async fn a_call_on_an_ended_session_succeeds_on_another_one() {
    let stack = Stack::start().await.unwrap();
    let person = stack.person().await.unwrap();
    let ada = stack.user(&person).unwrap();
    join_all((0..CALLS).map(|_| append(&ada))).await;
    // 57P01: an administrator's command.
    let ended: i64 = scalar(
        &stack.database,
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
          WHERE datname = current_database() AND usename LIKE ANY (ARRAY['data\\_%', 'identity\\_%'])",
    )
    .await;
    assert!(ended > 1, "{ended}");
    for outcome in join_all((0..CALLS).map(|_| append(&ada))).await {
        outcome.unwrap();
    }
    stack.person().await.unwrap();

    // 57P05: idle_session_timeout. It applies to sessions that begin from now on.
    let mut superuser = stack.database.connect("postgres").await.unwrap();
    let limit = format!(
        "ALTER DATABASE \"{}\" SET idle_session_timeout = '300ms'",
        stack.database.name
    );
    raw_sql(AssertSqlSafe(limit))
        .execute(&mut superuser)
        .await
        .unwrap();
    scalar::<i64>(
        &stack.database,
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
          WHERE datname = current_database() AND usename LIKE ANY (ARRAY['data\\_%', 'identity\\_%'])",
    )
    .await;
    for _ in 0..3 {
        for outcome in join_all((0..CALLS).map(|_| append(&ada))).await {
            outcome.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        eventually("the sessions are ended", async || {
            scalar::<i64>(&stack.database, SESSIONS).await <= 2
        })
        .await;
    }
    for service in [&stack.identity, &stack.data] {
        assert!(!service.output().unwrap().contains("\"reason\":\"INTERNAL\""));
    }
}
