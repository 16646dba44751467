//! Callers that disconnect while their calls wait for a lock, and call again.

use std::time::Duration;

use futures_util::future::join_all;
use haven_testkit::Stack;
use sqlx::Connection;
use tokio::time::{Instant, timeout};

use super::append;
use crate::{eventually::eventually, superuser_sql::scalar};

/// Size of data's request pool.
const POOL_SIZE: i64 = 4;

/// Number of concurrent callers.
const CALLERS: usize = 16;

/// Time after which a caller disconnects and calls again.
const LONG_TIMEOUT: Duration = Duration::from_millis(300);

/// Duration of the calls: longer than twice `lock_timeout`, for which a call may wait.
const CALLING: Duration = Duration::from_secs(14);

/// Counts the connections of the app login that wait for the lock. Other connections may be about to open or close.
const WAITING: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND usename = 'data_app' AND wait_event_type = 'Lock'";

#[tokio::test]
async fn disconnected_callers_never_hold_more_connections_than_the_pool_has() {
    let stack = Stack::builder().variable("data", "DATABASE_POOL_SIZE", POOL_SIZE.to_string());
    let stack = stack.start().await.unwrap();
    let person = stack.person().await.unwrap();
    let ada = stack.user(&person).unwrap();
    // Opens each client's connection before the calls that are cancelled.
    let clients: Vec<_> = (0..CALLERS).map(|_| stack.user(&person).unwrap()).collect();
    for client in &clients {
        append(client).await.unwrap();
    }

    let mut holder = stack.database.connect("postgres").await.unwrap();
    let mut held = holder.begin().await.unwrap();
    let lock = "SELECT FROM data.conversation_counters FOR UPDATE";
    sqlx::query(lock).execute(&mut *held).await.unwrap();
    let until = Instant::now() + CALLING;
    let calling = join_all(clients.iter().map(|client| async {
        while Instant::now() < until {
            let _ = timeout(LONG_TIMEOUT, append(client)).await;
        }
    }));
    let counting = async {
        let mut max_waiting = 0;
        while Instant::now() < until {
            max_waiting = max_waiting.max(scalar::<i64>(&stack.database, WAITING).await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        max_waiting
    };
    let (_, max_waiting) = tokio::join!(calling, counting);
    assert!(
        (1..=POOL_SIZE).contains(&max_waiting),
        "{max_waiting} connections"
    );

    held.rollback().await.unwrap();
    eventually("calls succeed again", async || append(&ada).await.is_ok()).await;
}
