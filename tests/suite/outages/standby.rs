//! A server that became a standby: no call is answered from it, and readiness says so.

use std::fs;

use haven_proto::data::v1::ListMessagesRequest;
use haven_testkit::{Stack, service::grpc_services};
use tonic_health::pb::health_check_response::ServingStatus;

use super::{
    append,
    postgres_down::{all_become, health},
    retryable,
};
use crate::superuser_sql::scalar;

#[tokio::test]
async fn a_standby_serves_no_call_and_its_connections_are_replaced() {
    let mut stack = Stack::builder().own_cluster().start().await.unwrap();
    let person = stack.person().await.unwrap();
    let ada = stack.user(&person).unwrap();
    append(&ada).await.unwrap();

    let cluster = stack.cluster().unwrap();
    cluster.stop();
    fs::write(cluster.data().join("standby.signal"), "").unwrap();
    cluster.resume().await.unwrap();
    assert!(scalar::<bool>(&stack.database, "SELECT pg_is_in_recovery()").await);
    all_become(&stack, ServingStatus::NotServing).await;
    for _ in 0..3 {
        // A read would be answered by the standby, with what it has: it may be behind the primary.
        let list = ada
            .conversation()
            .list_messages(ListMessagesRequest::default())
            .await;
        assert_eq!(retryable(&list.unwrap_err()), "DEPENDENCY_UNAVAILABLE");
        assert_eq!(
            retryable(&append(&ada).await.unwrap_err()),
            "DEPENDENCY_UNAVAILABLE"
        );
    }
    let log = stack.data.output().unwrap();
    assert!(log.contains("the database server is a standby"), "{log}");

    assert!(scalar::<bool>(&stack.database, "SELECT pg_promote(true, 30)").await);
    all_become(&stack, ServingStatus::Serving).await;
    append(&ada).await.unwrap();
    let services = grpc_services("data").unwrap();
    assert_eq!(
        health(&stack.data, &services[0]).await.unwrap(),
        ServingStatus::Serving
    );
}
