//! Postgres is down: both services report NOT_SERVING, keep running, and recover without a restart.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use haven_proto::identity::v1::SignInRequest;
use haven_testkit::{
    Stack,
    client::sign_up_request,
    random,
    service::{Service, grpc_services, health_channel},
};
use tonic::Status;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::{append, retryable};
use crate::eventually::eventually;

/// Number of concurrent calls, for which data opens more than one connection.
const CALLS: usize = 8;

/// Returns the status of the gRPC service `name` on the health port.
pub(super) async fn health(service: &Service, name: &str) -> Result<ServingStatus, Status> {
    let request = HealthCheckRequest {
        service: name.to_owned(),
    };
    let mut client = HealthClient::new(health_channel(service.listeners.health).unwrap());
    Ok(client.check(request).await?.into_inner().status())
}

/// Waits until every gRPC service of both processes has the status `expected`. The status of the empty name, which is the
/// liveness of the process, must be SERVING all the time.
pub(super) async fn all_become(stack: &Stack, expected: ServingStatus) {
    for process in [&stack.identity, &stack.data] {
        for service in grpc_services(process.name).unwrap() {
            let what = format!("{service} is {}", expected.as_str_name());
            eventually(&what, async || {
                assert_eq!(health(process, "").await.unwrap(), ServingStatus::Serving);
                health(process, &service).await.unwrap() == expected
            })
            .await;
        }
    }
}

#[tokio::test]
async fn both_services_report_not_serving_and_recover_without_a_restart() {
    let mut stack = Stack::builder().own_cluster().start().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    let person = stack.person().await.unwrap();
    let ada = stack.user(&person).unwrap();
    append(&ada).await.unwrap();
    let sign_in = || SignInRequest {
        email: person.email.clone(),
        password: person.password.clone(),
        request_id: random::uuid().to_string(),
        ..SignInRequest::default()
    };
    let sign_up = sign_up_request("bob@example.org", "Correct-Horse-7-Battery");
    let processes = (stack.identity.pid(), stack.data.pid());

    stack.cluster().unwrap().stop();
    all_become(&stack, ServingStatus::NotServing).await;
    let began = Instant::now();
    let (mut account, mut session) = (anonymous.account(), anonymous.session());
    let failed = tokio::join!(
        async { account.sign_up(sign_up.clone()).await.unwrap_err() },
        async { session.sign_in(sign_in()).await.unwrap_err() },
        async { append(&ada).await.unwrap_err() },
    );
    for status in [failed.0, failed.1, failed.2] {
        assert_eq!(retryable(&status), "DEPENDENCY_UNAVAILABLE");
    }
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());

    stack.cluster().unwrap().resume().await.unwrap();
    all_become(&stack, ServingStatus::Serving).await;
    append(&ada).await.unwrap();
    anonymous.session().sign_in(sign_in()).await.unwrap();
    anonymous.account().sign_up(sign_up).await.unwrap();

    // A restart between two calls fails no call, though it closes every connection.
    join_all((0..CALLS).map(|_| append(&ada))).await;
    stack.cluster().unwrap().stop();
    stack.cluster().unwrap().resume().await.unwrap();
    for outcome in join_all((0..CALLS).map(|_| append(&ada))).await {
        outcome.unwrap();
    }
    assert_eq!((stack.identity.pid(), stack.data.pid()), processes);
    assert!(stack.identity.runs() && stack.data.runs());

    // A service that starts while Postgres is down waits for it.
    stack.cluster().unwrap().stop();
    stack.data.kill();
    stack.data.launch().unwrap();
    eventually("data is alive", async || {
        health(&stack.data, "")
            .await
            .is_ok_and(|status| status == ServingStatus::Serving)
    })
    .await;
    all_become(&stack, ServingStatus::NotServing).await;
    stack.cluster().unwrap().resume().await.unwrap();
    all_become(&stack, ServingStatus::Serving).await;
    append(&ada).await.unwrap();
}
