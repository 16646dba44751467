//! Synchronous replication while every standby is away: a commit waits for one past all of Postgres' time limits.

use std::{fs, sync::Mutex, time::Duration};

use futures_util::future::join_all;
use haven_proto::data::v1::{AppendMessageRequest, AppendMessageResponse, ListMessagesRequest, SenderType};
use haven_testkit::{Client, Stack, random};
use sqlx::raw_sql;
use tokio::time::Instant;
use tonic::{Code, Request, Response, Status};

use crate::{eventually::eventually, superuser_sql::scalar};

/// Size of data's request pool.
const POOL_SIZE: i64 = 3;

/// Number of concurrent callers.
const CALLERS: usize = 12;

/// Number of the backends that wait for a standby.
const WAITING: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND usename = 'data_app' AND wait_event = 'SyncRep'";

fn message() -> AppendMessageRequest {
    AppendMessageRequest {
        sender_type: SenderType::User.into(),
        text: random::uuid().to_string(),
        message_id: String::new(),
        request_id: random::uuid().to_string(),
    }
}

async fn append(
    client: &Client,
    message: &AppendMessageRequest,
    timeout: Duration,
) -> Result<Response<AppendMessageResponse>, Status> {
    let mut request = Request::new(message.clone());
    request.set_timeout(timeout);
    client.conversation().append_message(request).await
}

#[tokio::test]
async fn a_commit_without_a_standby_is_unknown_and_what_waits_for_one_is_bounded() {
    let mut stack = Stack::builder()
        .own_cluster()
        .variable("data", "DATABASE_POOL_SIZE", POOL_SIZE.to_string())
        .start()
        .await
        .unwrap();
    // People of their own: one person's messages wait for each other.
    let mut clients = Vec::new();
    for _ in 0..CALLERS {
        clients.push(stack.user(&stack.person().await.unwrap()).unwrap());
    }
    append(&clients[0], &message(), Duration::from_secs(10))
        .await
        .unwrap();

    let mut superuser = stack.database.connect("postgres").await.unwrap();
    let away = "ALTER SYSTEM SET synchronous_standby_names = 'away'; SELECT pg_reload_conf()";
    for statement in away.split("; ") {
        raw_sql(statement).execute(&mut superuser).await.unwrap();
    }
    // The setting takes effect a moment later.
    let mut stored = 1;
    let first_unknown = loop {
        let message = message();
        if append(&clients[0], &message, Duration::from_secs(1))
            .await
            .is_err()
        {
            break message;
        }
        stored += 1;
    };

    // Callers with short deadlines that call again and again.
    let others = Mutex::new(Vec::new());
    let until = Instant::now() + Duration::from_secs(20);
    let calling = join_all(clients.iter().map(async |client| {
        let mut unknown = Vec::new();
        while Instant::now() < until {
            let message = message();
            let failed = append(client, &message, Duration::from_millis(1500)).await;
            // The client's own timer may fire before the answer arrives.
            match failed.map_or_else(|status| status.code(), |_| Code::Ok) {
                Code::DeadlineExceeded | Code::Cancelled => unknown.push(message),
                Code::Unavailable => tokio::time::sleep(Duration::from_millis(100)).await,
                other => others.lock().unwrap().push(other),
            }
        }
        unknown
    }));
    let counting = async {
        let mut most = 0;
        while Instant::now() < until {
            most = most.max(scalar::<i64>(&stack.database, WAITING).await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        most
    };
    let (mut unknown, most) = tokio::join!(calling, counting);
    // Before any other assertion: the end of the test would wait for a standby too.
    let back = "ALTER SYSTEM RESET synchronous_standby_names; SELECT pg_reload_conf()";
    for statement in back.split("; ") {
        raw_sql(statement).execute(&mut superuser).await.unwrap();
    }
    assert!(
        (POOL_SIZE..=2 * POOL_SIZE).contains(&most),
        "{most} backends wait"
    );
    assert_eq!(*others.lock().unwrap(), Vec::<Code>::new());
    eventually("no commit waits", async || {
        scalar::<i64>(&stack.database, WAITING).await == 0
    })
    .await;
    // A retry under the same request id finds out, and nothing is stored twice.
    unknown[0].push(first_unknown);
    for (client, unknown) in clients.iter().zip(&unknown) {
        for message in unknown {
            append(client, message, Duration::from_secs(10)).await.unwrap();
            stored += 1;
        }
    }
    let found: i64 = scalar(&stack.database, "SELECT count(*) FROM data.conversations").await;
    // Calls that got no connection have stored nothing.
    assert_eq!(found, stored);
    let list = ListMessagesRequest {
        page_size: 50,
        ..ListMessagesRequest::default()
    };
    clients[0].conversation().list_messages(list).await.unwrap();
    let log = fs::read_to_string(stack.cluster().unwrap().log()).unwrap();
    assert!(
        !log.contains("canceling the wait"),
        "a cancel would confirm a commit that no standby has"
    );
}
