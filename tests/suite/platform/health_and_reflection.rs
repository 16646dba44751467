//! Standard services: health and reflection.

use tokio_stream::StreamExt;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use haven_platform::config::Requests;

use super::probe::{Probe, requests};

#[tokio::test]
async fn health_answers_on_the_api_port_by_name() {
    let probe = Probe::start().await;
    let mut health = HealthClient::new(probe.channel(None));
    for service in ["", "haven.testing.v1.ProbeService"] {
        let answer = health
            .check(HealthCheckRequest {
                service: service.into(),
            })
            .await
            .unwrap()
            .into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service:?}");
    }
    let status = health
        .check(HealthCheckRequest {
            service: "no.such".into(),
        })
        .await
        .unwrap_err();
    assert_eq!(crate::status::reason(&status), "NOT_FOUND");
}

#[tokio::test]
async fn health_lists_the_process_and_every_service() {
    use haven_proto::health::v1::{
        HealthListRequest, health_check_response::ServingStatus, health_client::HealthClient,
    };
    let probe = Probe::start().await;
    let mut health = HealthClient::new(probe.channel(None));
    let list = health.list(HealthListRequest {}).await.unwrap().into_inner();
    let mut statuses: Vec<_> = list
        .statuses
        .iter()
        .map(|(name, answer)| (name.as_str(), answer.status()))
        .collect();
    statuses.sort();
    assert_eq!(
        statuses,
        [
            ("", ServingStatus::Serving),
            ("haven.testing.v1.ProbeService", ServingStatus::Serving)
        ]
    );
}

/// The health protocol asks for this. A client with health checks takes the end of a watch for an unhealthy server.
#[tokio::test]
async fn a_watch_of_an_unknown_service_stays_open() {
    let probe = Probe::start_with(Requests {
        default_deadline: std::time::Duration::from_millis(300),
        ..requests()
    })
    .await;
    let mut health = HealthClient::new(probe.channel(None));
    let open = |service: &str| HealthCheckRequest {
        service: service.to_owned(),
    };
    let mut unknown = health.watch(open("no.such")).await.unwrap().into_inner();
    let mut known = health
        .watch(open("haven.testing.v1.ProbeService"))
        .await
        .unwrap()
        .into_inner();
    let first = unknown.message().await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::ServiceUnknown);
    assert_eq!(
        known.message().await.unwrap().unwrap().status(),
        ServingStatus::Serving
    );
    // Longer than the deadline of a call without one.
    let silent = tokio::time::timeout(std::time::Duration::from_secs(1), unknown.message()).await;
    assert!(silent.is_err(), "{silent:?}");
    probe.stop.cancel();
    let last = known.message().await.unwrap().unwrap();
    assert_eq!(last.status(), ServingStatus::NotServing);
    let ended = known.message().await.unwrap_err();
    assert_eq!(crate::status::reason(&ended), "DRAINING");
    assert_eq!(
        crate::status::reason(&unknown.message().await.unwrap_err()),
        "DRAINING"
    );
    // The watches do not hold up the end of the server.
    let served = tokio::time::timeout(std::time::Duration::from_secs(3), probe.served).await;
    served.expect("the server ends").unwrap();
}

#[tokio::test]
async fn watches_of_health_from_one_network_leave_places_for_probes_of_others() {
    let probe = Probe::start_with(Requests {
        max_in_flight: 32,
        ..requests()
    })
    .await;
    let mut hoarder = HealthClient::new(probe.channel_from(2));
    let mut open = Vec::new();
    let refused = loop {
        match hoarder.watch(HealthCheckRequest::default()).await {
            Ok(watch) => open.push(watch.into_inner()),
            Err(status) => break status,
        }
        assert!(open.len() < 16, "one network has all places");
    };
    assert_eq!(crate::status::reason(&refused), "TOO_MANY_CALLS");
    assert!(open.len() >= 4, "{}", open.len());
    let mut other = HealthClient::new(probe.channel_from(3));
    assert!(other.check(HealthCheckRequest::default()).await.is_ok());
    drop(open);
    crate::eventually::eventually("the places are free again", async || {
        hoarder.check(HealthCheckRequest::default()).await.is_ok()
    })
    .await;
}

/// An answer of reflection repeats its request.
#[tokio::test]
async fn large_requests_to_health_and_reflection_are_refused() {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest,
    };
    let probe = Probe::start().await;
    let service = "a".repeat(5_000);
    let mut health = HealthClient::new(probe.channel(None));
    let request = HealthCheckRequest {
        service: service.clone(),
    };
    let status = health.check(request).await.unwrap_err();
    assert_eq!(crate::status::reason(&status), "MESSAGE_TOO_LARGE");
    let request = ServerReflectionRequest {
        host: service,
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut reflection = ServerReflectionClient::new(probe.channel(None));
    let answers = reflection
        .server_reflection_info(tokio_stream::iter([request]))
        .await;
    // tonic's service of reflection ends its stream at a request that it cannot read.
    assert!(answers.unwrap().into_inner().next().await.is_none());
}

#[tokio::test]
async fn reflection_lists_every_service_in_both_versions() {
    let probe = Probe::start().await;
    let expected = [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "haven.testing.v1.ProbeService",
    ];
    macro_rules! listed {
        ($version:ident) => {{
            use tonic_reflection::pb::$version::{
                ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
                server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
            };
            let request = ServerReflectionRequest {
                host: String::new(),
                message_request: Some(MessageRequest::ListServices(String::new())),
            };
            let mut client = ServerReflectionClient::new(probe.channel(None));
            let mut answers = client
                .server_reflection_info(tokio_stream::iter([request]))
                .await
                .unwrap()
                .into_inner();
            let Some(MessageResponse::ListServicesResponse(list)) =
                answers.next().await.unwrap().unwrap().message_response
            else {
                panic!("no list")
            };
            let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
            names.sort();
            names
        }};
    }
    for (version, names) in [("v1", listed!(v1)), ("v1alpha", listed!(v1alpha))] {
        // UndeclaredService is defined in the same file but not served.
        assert_eq!(names, expected, "{version}");
    }
}

/// Status details are messages as well. A tool without their descriptors would show them in Base64.
#[tokio::test]
async fn reflection_describes_status_details() {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let probe = Probe::start().await;
    for symbol in [
        "google.rpc.ErrorInfo",
        "google.rpc.BadRequest",
        "google.rpc.RetryInfo",
        "google.rpc.RequestInfo",
    ] {
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::FileContainingSymbol(symbol.into())),
        };
        let mut client = ServerReflectionClient::new(probe.channel(None));
        let answers = client
            .server_reflection_info(tokio_stream::iter([request]))
            .await
            .unwrap();
        let answer = answers
            .into_inner()
            .next()
            .await
            .unwrap()
            .unwrap()
            .message_response;
        assert!(
            matches!(answer, Some(MessageResponse::FileDescriptorResponse(_))),
            "{symbol}: {answer:?}"
        );
    }
}
