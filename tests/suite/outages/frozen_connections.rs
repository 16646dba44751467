//! Connections to Postgres that stay open and on which nothing arrives: a stopped server, or a network that drops packets.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use haven_platform::{
    database::{Context, Database, DatabaseConfig, Pooler},
    deadline::Deadline,
};
use haven_proto::identity::v1::GetAccountRequest;
use haven_testkit::{Stack, service::grpc_services};
use tonic_health::pb::health_check_response::ServingStatus;

use super::{append, postgres_down::health};
use crate::eventually::eventually;

/// Number of concurrent calls, for which the services open several connections.
const CALLS: usize = 8;

/// The default deadline of a call.
const DEADLINE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn calls_and_background_tasks_use_other_connections_within_a_deadline() {
    let stack = Stack::builder().freezable().start().await.unwrap();
    let person = stack.person().await.unwrap();
    let ada = stack.user(&person).unwrap();
    let account = GetAccountRequest {
        user_id: person.id.to_string(),
    };
    let read = async || ada.account().get_account(account.clone()).await;
    join_all((0..CALLS).map(|_| append(&ada))).await;
    join_all((0..CALLS).map(|_| read())).await;

    for round in 0..2 {
        stack.freeze("identity");
        stack.freeze("data");
        let frozen = Instant::now();
        let calls = async { join_all((0..CALLS).map(|_| append(&ada))).await };
        let reads = async { join_all((0..CALLS).map(|_| read())).await };
        let (calls, reads) = tokio::join!(calls, reads);
        for outcome in calls {
            outcome.unwrap();
        }
        for outcome in reads {
            outcome.unwrap();
        }
        assert!(
            frozen.elapsed() < DEADLINE,
            "round {round}: {:?}",
            frozen.elapsed()
        );
        // No frozen connection is left for the next calls.
        let healed = Instant::now();
        join_all((0..CALLS).map(|_| append(&ada))).await;
        join_all((0..CALLS).map(|_| read())).await;
        assert!(healed.elapsed() < Duration::from_secs(3), "round {round}");
    }
    for service in [&stack.identity, &stack.data] {
        for name in grpc_services(service.name).unwrap() {
            eventually(&format!("{name} serves"), async || {
                health(service, &name).await.unwrap() == ServingStatus::Serving
            })
            .await;
        }
    }
    // The outbox and the ended sessions use the worker's connections: a new person becomes ready, and SignOut takes effect.
    stack.freeze("identity");
    stack.freeze("data");
    let bob = stack.person().await.unwrap();
    append(&stack.user(&bob).unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_ping_without_an_answer_closes_its_connection() {
    let stack = Stack::builder().freezable().start().await.unwrap();
    // Without calls only the pings use the connections.
    stack.freeze("data");
    let services = grpc_services("data").unwrap();
    let until = Instant::now() + Duration::from_secs(12);
    while Instant::now() < until {
        let status = health(&stack.data, &services[0]).await.unwrap();
        assert_eq!(status, ServingStatus::Serving, "one slow ping");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The longest time after its deadline, a second ago, at which a statement without an answer ends on a busy machine.
const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_statement_without_an_answer_ends_a_second_after_its_deadline() {
    let stack = Stack::builder().freezable().start().await.unwrap();
    let url = |name: &str| stack.data.variables[name].as_str().into();
    let config = DatabaseConfig {
        schema: "data",
        app_url: url("DATABASE_URL"),
        worker_url: url("WORKER_DATABASE_URL"),
        app_connections: 1,
        worker_connections: 1,
        pooler: Pooler::Session,
    };
    let database = Database::new(&config).unwrap();
    let begin = async |time| {
        let deadline = Deadline::after(Duration::from_secs(time));
        database
            .begin("Test", Context::Anonymous, deadline)
            .await
            .unwrap()
    };
    let frozen = async || {
        let tx = begin(1).await;
        stack.freeze("data");
        (tx, Instant::now())
    };

    let (mut tx, since) = frozen().await;
    let error = sqlx::query("SELECT 1").execute(&mut tx).await.unwrap_err();
    assert!(
        error.to_string().contains("no answer within the deadline"),
        "{error}"
    );
    assert!(
        (1..=SOON.as_secs()).contains(&since.elapsed().as_secs()),
        "{:?}",
        since.elapsed()
    );
    drop(tx);

    let (mut tx, since) = frozen().await;
    let error = sqlx::query("SELECT 1").fetch_optional(&mut tx).await.unwrap_err();
    assert!(
        error.to_string().contains("no answer within the deadline"),
        "{error}"
    );
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    drop(tx);

    // More commits than the pool has places, within it and outside: none is waited for, because no standby is missing.
    for _ in 0..3 {
        let (tx, since) = frozen().await;
        let error = tx.commit().await.unwrap_err();
        assert!(error.to_string().contains("it may have happened"), "{error}");
        assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
        // The only place of the pool is free again, and not because its connection was used again.
        begin(10).await.commit().await.unwrap();
    }
}
