//! Calls through each proxy: answers, failures, large requests, deadlines, cancellation.

use std::time::Duration;

use haven_proto::data::v1::{Change, PullChangesRequest, PushChangesRequest, PushMode, WatchChangesRequest};
use haven_testkit::{
    Client, Stack, random,
    reverse_proxy::{Kind, ReverseProxy},
};
use prost::Message;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;

use super::{client, start};
use crate::{
    eventually::within,
    metrics::Metrics,
    status::{reason, violations},
    test_device::Device,
};

#[tokio::test]
async fn calls_pass_each_proxy() {
    let stack = Stack::builder()
        .variable("identity", "TRUSTED_PROXIES", "127.0.0.1")
        .variable("data", "TRUSTED_PROXIES", "127.0.0.1")
        .start()
        .await
        .unwrap();
    let device = Device::invent(&stack).await.unwrap();
    for proxy in start(&stack) {
        let through = client(&stack, &proxy);
        let signed_in = through.with_token(&device.person.token).unwrap();
        eprintln!("{}", proxy.kind);
        // Unary, of identity.
        through.invent().await.unwrap();
        failures_keep_their_details(&device, &signed_in).await;
        large_messages_pass(&device, &signed_in).await;
        deadlines_pass(&device, &signed_in).await;
        cancellation_passes(&stack, &device, &signed_in, &proxy).await;
        let hidden = through.health("data").check(HealthCheckRequest::default()).await;
        // Traefik can only answer with a page, which tonic takes for a message.
        let expected = match proxy.kind {
            Kind::Traefik => Code::Internal,
            _ => Code::Unimplemented,
        };
        assert_eq!(hidden.unwrap_err().code(), expected, "{}", proxy.kind);
    }
}

fn push(device: &Device, changes: Vec<Change>) -> PushChangesRequest {
    PushChangesRequest {
        device_id: device.id.to_string(),
        changes,
        mode: PushMode::Independent.into(),
        request_id: random::uuid().to_string(),
    }
}

/// The details of a failure are in the headers of its answer, for which a proxy has a buffer.
async fn failures_keep_their_details(device: &Device, through: &Client) {
    let wrong = push(device, vec![Change::default(); 20]);
    let refused = async |client: &Client| -> Status {
        let refused = client.cycle().push_changes(wrong.clone()).await;
        refused.unwrap_err()
    };
    let (direct, proxied) = (refused(&device.client).await, refused(through).await);
    assert_eq!(reason(&proxied), "INVALID_FIELD");
    assert!(violations(&direct).len() > 5);
    assert_eq!(violations(&proxied), violations(&direct));
}

/// A request of more than 1,000,000 bytes, an answer as large, and a request that Haven refuses because of its size.
async fn large_messages_pass(device: &Device, through: &Client) {
    let content = "a".repeat(50_000);
    let changes = |count| -> Vec<Change> {
        let changes = (0..count).map(|_| device.put(random::uuid(), 0, &content).unwrap());
        changes.collect()
    };
    let before = pulled(device, through).await;
    let large = push(device, changes(20));
    assert!(
        (1_000_000..=1_048_576).contains(&large.encoded_len()),
        "{}",
        large.encoded_len()
    );
    let answer = through.cycle().push_changes(large).await.unwrap().into_inner();
    assert_eq!(answer.results.len(), 20);
    assert_eq!(pulled(device, through).await, before + 20);
    let too_large = through.cycle().push_changes(push(device, changes(22))).await;
    assert_eq!(reason(&too_large.unwrap_err()), "MESSAGE_TOO_LARGE");
}

/// Returns the number of all entries.
async fn pulled(device: &Device, through: &Client) -> usize {
    let request = PullChangesRequest {
        device_id: device.id.to_string(),
        cursor: String::new(),
    };
    let mut answers = through.cycle().pull_changes(request).await.unwrap().into_inner();
    let mut count = 0;
    while let Some(answer) = answers.message().await.unwrap() {
        count += answer.entries.len();
    }
    count
}

fn watch(device: &Device) -> WatchChangesRequest {
    WatchChangesRequest {
        device_id: device.id.to_string(),
        cursor: String::new(),
    }
}

/// The server ends a watch at the deadline of the client, which does not do so itself here. The status is in the trailers.
async fn deadlines_pass(device: &Device, through: &Client) {
    let mut request = Request::new(watch(device));
    let timeout = "1500m".parse().unwrap();
    request.metadata_mut().insert("grpc-timeout", timeout);
    let mut answers = through.cycle().watch_changes(request).await.unwrap().into_inner();
    let end = loop {
        match answers.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the watch has no status"),
            Err(status) => break status,
        }
    };
    assert_eq!(reason(&end), "DEADLINE");
}

async fn cancellation_passes(stack: &Stack, device: &Device, through: &Client, proxy: &ReverseProxy) {
    let calls = async || {
        let page = Metrics::read(stack.data.listeners.metrics).await;
        page.sum("haven_rpc_in_flight", &[]).unwrap_or_default()
    };
    let mut answers = through
        .cycle()
        .watch_changes(watch(device))
        .await
        .unwrap()
        .into_inner();
    answers.message().await.unwrap().unwrap();
    assert!(calls().await >= 1.0, "{}", proxy.kind);
    drop(answers);
    let what = format!("{} ends the watch of a client that is gone", proxy.kind);
    within(Duration::from_secs(15), &what, async || calls().await == 0.0).await;
}
