//! Callers who go away while their calls wait for a lock, and come again.

use std::time::Duration;

use futures_util::future::join_all;
use haven_testkit::Stack;
use sqlx::Connection;
use tokio::time::{Instant, timeout};

use super::append;
use crate::{eventually::eventually, superuser_sql::scalar};

/// How many connections data may have for people's requests.
const PLACES: i64 = 4;

/// How many call at once.
const CALLERS: usize = 16;

/// How long each of them waits before they call again.
const LONG_TIMEOUT: Duration = Duration::from_millis(300);

/// How long they do so: longer than Postgres lets anybody wait, for their turn at a row and for the row.
const CALLING: Duration = Duration::from_secs(14);

/// The connections of the login for people's requests that wait for the lock. Others may be about to begin or to end.
const WAITING: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND usename = 'data_app' AND wait_event_type = 'Lock'";

#[tokio::test]
async fn callers_who_go_away_never_have_more_connections_than_there_are_places() {
    let stack = Stack::builder().variable("data", "DATABASE_POOL_SIZE", PLACES.to_string());
    let stack = stack.start().await.unwrap();
    let person = stack.person().await.unwrap();
    let ada = stack.user(&person).unwrap();
    // Each has a connection before it matters how long a call takes.
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
        let mut most = 0;
        while Instant::now() < until {
            most = most.max(scalar::<i64>(&stack.database, WAITING).await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        most
    };
    let (_, most) = tokio::join!(calling, counting);
    assert!((1..=PLACES).contains(&most), "{most} connections");

    held.rollback().await.unwrap();
    eventually("who calls is answered again", async || append(&ada).await.is_ok()).await;
}
