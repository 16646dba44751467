//! SIGTERM: calls in flight finish, and then the process exits with code 0.

use haven_proto::{data::v1::ListMessagesRequest, identity::v1::SignUpResponse};
use haven_testkit::{
    Stack,
    client::sign_up_request,
    process::Signal,
    service::{Service, health_channel},
};
use sqlx::{Connection, PgConnection};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::append;
use crate::{eventually::eventually, superuser_sql::scalar};

/// Number of calls in flight.
const CALLS: usize = 4;

/// Size of the pools: enough for these calls and the readiness check.
const CONNECTIONS: &str = "8";

/// Runs `sql`, which locks a table until the connection is closed. Calls that write to the table wait for as long.
async fn hold(stack: &Stack, sql: &'static str) -> PgConnection {
    let mut holder = stack.database.connect("postgres").await.unwrap();
    sqlx::raw_sql(sql).execute(&mut holder).await.unwrap();
    holder
}

/// Waits until all calls wait for the lock.
async fn all_wait(stack: &Stack) {
    eventually("all calls wait for the lock", async || {
        let waiting: i64 = scalar(
            &stack.database,
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        .await;
        waiting == CALLS as i64
    })
    .await;
}

/// Sends SIGTERM, and waits until the health service reports NOT_SERVING.
async fn terminate(service: &mut Service, name: &str) {
    service.signal(Signal::TERM);
    let mut health = HealthClient::new(health_channel(service.listeners.health).unwrap());
    eventually("the service starts to drain", async || {
        let request = HealthCheckRequest {
            service: name.to_owned(),
        };
        let answer = health.check(request).await.unwrap();
        answer.into_inner().status() == ServingStatus::NotServing
    })
    .await;
    assert!(service.runs(), "the process exited before its calls finished");
}

/// Waits until the process exits, with code 0.
async fn exits_with_zero(service: &mut Service) {
    let mut status = None;
    eventually("the process exits", async || {
        status = service.ended();
        status.is_some()
    })
    .await;
    assert_eq!(status.unwrap().code(), Some(0));
}

#[tokio::test]
async fn both_services_finish_calls_in_flight() {
    let mut stack = Stack::builder()
        .variable("identity", "DATABASE_POOL_SIZE", CONNECTIONS)
        .variable("data", "DATABASE_POOL_SIZE", CONNECTIONS)
        .start()
        .await
        .unwrap();
    let person = stack.person().await.unwrap();
    // data fetches the signing keys at the first call at the latest. Later identity is down.
    let list = ListMessagesRequest::default();
    let mut conversation = stack.user(&person).unwrap().conversation();
    conversation.list_messages(list).await.unwrap();

    let lock = "BEGIN; LOCK TABLE identity.users IN ACCESS EXCLUSIVE MODE";
    let holder = hold(&stack, lock).await;
    let sign_ups: Vec<_> = (0..CALLS)
        .map(|i| {
            let mut account = stack.anonymous().unwrap().account();
            let request = sign_up_request(&format!("person-{i}@example.org"), "Correct-Horse-7-Battery");
            tokio::spawn(async move { account.sign_up(request).await })
        })
        .collect();
    all_wait(&stack).await;
    terminate(&mut stack.identity, "haven.identity.v1.AccountService").await;
    let late = sign_up_request("late@example.org", "Correct-Horse-7-Battery");
    let late = stack.anonymous().unwrap().account().sign_up(late).await;
    assert!(late.is_err(), "a new call is refused");
    holder.close().await.unwrap();
    for sign_up in sign_ups {
        let SignUpResponse { account } = sign_up.await.unwrap().unwrap().into_inner();
        assert!(account.is_some());
    }
    exits_with_zero(&mut stack.identity).await;
    // Every person was provisioned before identity exited.
    let provisioned: i64 = scalar(&stack.database, "SELECT count(*) FROM data.users").await;
    assert_eq!(provisioned, CALLS as i64 + 1);
    let undelivered: i64 = scalar(&stack.database, "SELECT count(*) FROM identity.outbox").await;
    assert_eq!(undelivered, 0);

    let holder = hold(
        &stack,
        "BEGIN; LOCK TABLE data.conversations IN ACCESS EXCLUSIVE MODE",
    )
    .await;
    let people: Vec<_> = (0..CALLS).map(|_| stack.user(&person).unwrap()).collect();
    let messages: Vec<_> = people
        .into_iter()
        .map(|client| tokio::spawn(async move { append(&client).await }))
        .collect();
    all_wait(&stack).await;
    terminate(&mut stack.data, "haven.data.v1.ConversationService").await;
    holder.close().await.unwrap();
    for message in messages {
        message.await.unwrap().unwrap();
    }
    exits_with_zero(&mut stack.data).await;
    let stored: i64 = scalar(&stack.database, "SELECT count(*) FROM data.conversations").await;
    assert_eq!(stored, CALLS as i64);
}
