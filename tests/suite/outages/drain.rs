//! SIGTERM: what is under way finishes, and then the process ends as it should.

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

/// How many calls are under way.
const CALLS: usize = 4;

/// Enough connections for them and for readiness, which asks over the same ones.
const CONNECTIONS: &str = "8";

/// Holds a table until it is dropped, so that whoever writes to it is under way for as long.
async fn hold(stack: &Stack, sql: &'static str) -> PgConnection {
    let mut holder = stack.database.connect("postgres").await.unwrap();
    sqlx::raw_sql(sql).execute(&mut holder).await.unwrap();
    holder
}

/// Waits until as many statements wait for a lock as there are calls.
async fn all_wait(stack: &Stack) {
    eventually("all calls are under way", async || {
        let waiting: i64 = scalar(
            &stack.database,
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        .await;
        waiting == CALLS as i64
    })
    .await;
}

/// Sends SIGTERM, and waits until the process has begun to stop.
async fn terminate(service: &mut Service, name: &str) {
    service.signal(Signal::TERM);
    let mut health = HealthClient::new(health_channel(service.listeners.health).unwrap());
    eventually("it stops", async || {
        let request = HealthCheckRequest {
            service: name.to_owned(),
        };
        let answer = health.check(request).await.unwrap();
        answer.into_inner().status() == ServingStatus::NotServing
    })
    .await;
    assert!(service.runs(), "it did not wait for what is under way");
}

/// Waits for the process to end by itself.
async fn ends_well(service: &mut Service) {
    let mut status = None;
    eventually("it ends", async || {
        status = service.ended();
        status.is_some()
    })
    .await;
    assert_eq!(status.unwrap().code(), Some(0));
}

#[tokio::test]
async fn both_services_finish_what_is_under_way() {
    let mut stack = Stack::builder()
        .variable("identity", "DATABASE_POOL_SIZE", CONNECTIONS)
        .variable("data", "DATABASE_POOL_SIZE", CONNECTIONS)
        .start()
        .await
        .unwrap();
    let person = stack.person().await.unwrap();
    // data asks for the keys of tokens when it first needs one, at the latest; soon there is nobody to ask.
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
    assert!(late.is_err(), "nothing new is begun");
    holder.close().await.unwrap();
    for sign_up in sign_ups {
        let SignUpResponse { account } = sign_up.await.unwrap().unwrap().into_inner();
        assert!(account.is_some());
    }
    ends_well(&mut stack.identity).await;
    // What was begun to be told was told to the end.
    let known: i64 = scalar(&stack.database, "SELECT count(*) FROM data.users").await;
    assert_eq!(known, CALLS as i64 + 1);
    let untold: i64 = scalar(&stack.database, "SELECT count(*) FROM identity.outbox").await;
    assert_eq!(untold, 0);

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
    ends_well(&mut stack.data).await;
    let stored: i64 = scalar(&stack.database, "SELECT count(*) FROM data.conversations").await;
    assert_eq!(stored, CALLS as i64);
}
