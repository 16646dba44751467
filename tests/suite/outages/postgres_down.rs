//! Postgres is down: both services say so, live on, and need no restart when it comes back.

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

/// Calls at once, for which data makes more than one connection.
const CROWD: usize = 8;

/// What probes are told about `name`, on the health port.
async fn health(service: &Service, name: &str) -> Result<ServingStatus, Status> {
    let request = HealthCheckRequest {
        service: name.to_owned(),
    };
    let mut client = HealthClient::new(health_channel(service.listeners.health).unwrap());
    Ok(client.check(request).await?.into_inner().status())
}

/// Waits until every service in both processes is `expected`. The processes themselves are alive all the time.
async fn all_become(stack: &Stack, expected: ServingStatus) {
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
async fn both_services_say_so_and_recover_by_themselves() {
    let mut stack = Stack::builder().own_cluster().start().await.unwrap();
    let nobody = stack.anonymous().unwrap();
    let person = stack.person().await.unwrap();
    let ada = stack.user(&person).unwrap();
    append(&ada).await.unwrap();
    let sign_in = || SignInRequest {
        email: person.email.clone(),
        password: person.password.clone(),
        request_id: random::uuid().to_string(),
    };
    let sign_up = sign_up_request("bob@example.org", "Correct-Horse-7-Battery");
    let processes = (stack.identity.pid(), stack.data.pid());

    stack.cluster().unwrap().stop();
    all_become(&stack, ServingStatus::NotServing).await;
    let began = Instant::now();
    let (mut account, mut session) = (nobody.account(), nobody.session());
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
    nobody.session().sign_in(sign_in()).await.unwrap();
    nobody.account().sign_up(sign_up).await.unwrap();

    // A restart that is over before anybody asks is noticed by nobody, though every connection was cut.
    join_all((0..CROWD).map(|_| append(&ada))).await;
    stack.cluster().unwrap().stop();
    stack.cluster().unwrap().resume().await.unwrap();
    for outcome in join_all((0..CROWD).map(|_| append(&ada))).await {
        outcome.unwrap();
    }
    assert_eq!((stack.identity.pid(), stack.data.pid()), processes);
    assert!(stack.identity.runs() && stack.data.runs());

    // A service that starts meanwhile waits for it, too.
    stack.cluster().unwrap().stop();
    stack.data.kill();
    stack.data.launch().unwrap();
    eventually("data lives", async || {
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
