//! `TRUSTED_PROXIES`: clients behind a proxy have their own limits, places and connections.

use std::time::Duration;

use futures_util::future::join_all;
use haven_proto::{data::v1::WatchChangesRequest, identity::v1::CheckPasswordRequest};
use haven_testkit::{Client, Stack};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::client::TlsStream;
use tonic::{Request, Status};
use tonic_types::StatusExt;

use crate::{
    metrics::Metrics,
    raw_socket::{PREFACE, frame, kind, tls_from},
    status::{metadata, reason},
    test_device::Device,
};

/// The last part of the proxy's address: 127.0.0.9.
const PROXY: u8 = 9;

fn from(stack: &Stack, network: u8) -> Client {
    stack.client_from([127, 0, 0, network].into()).unwrap()
}

/// Calls CheckPassword, which is limited by network, with the header `name` if there is a value.
async fn check(client: &Client, name: &'static str, value: Option<&str>) -> Result<(), Status> {
    let mut request = Request::new(CheckPasswordRequest {
        password: "x".to_owned(),
        ..CheckPasswordRequest::default()
    });
    if let Some(value) = value {
        request.metadata_mut().insert(name, value.parse().unwrap());
    }
    client.account().check_password(request).await.map(drop)
}

async fn is_within_limit(client: &Client, stated: &str) -> bool {
    match check(client, "x-forwarded-for", Some(stated)).await {
        Ok(()) => true,
        Err(status) => {
            assert_eq!(reason(&status), "RATE_LIMITED");
            false
        }
    }
}

#[tokio::test]
async fn a_hundred_people_behind_a_trusted_proxy_have_limits_of_their_own() {
    let stack = Stack::builder()
        .variable("identity", "TRUSTED_PROXIES", "127.0.0.9, 10.1.0.0/16")
        .variable("identity", "CHECK_PASSWORD_LIMITS", "network=1/1h,service=off")
        .start()
        .await
        .unwrap();
    let proxy = from(&stack, PROXY);
    let people: Vec<_> = (0..100).map(|person| format!("198.51.100.{person}")).collect();
    // Ten at a time: the queue of estimates is short, and no part of this test.
    for some in people.chunks(10) {
        let outcomes = join_all(some.iter().map(|person| is_within_limit(&proxy, person))).await;
        assert_eq!(outcomes, [true; 10], "{some:?}");
    }
    // Each has used up the own limit, also when the client itself states other addresses, and with a further trusted proxy.
    for stated in [
        "198.51.100.1",
        "198.51.100.2:4711",
        "203.0.113.7, 198.51.100.3",
        "nonsense, 198.51.100.4",
        "203.0.113.8, 198.51.100.5, 10.1.2.3",
    ] {
        assert!(!is_within_limit(&proxy, stated).await, "{stated}");
    }
    for (stated, expected) in [
        ("198.51.101.1, 10.1.2.3", true),
        ("2001:db8:7::1", true),
        ("2001:db8:7::2", false),
        ("2001:db8:7:1::1", true),
    ] {
        assert_eq!(is_within_limit(&proxy, stated).await, expected, "{stated}");
    }
    check(&proxy, "forwarded", Some("for=203.0.113.1, for=198.51.102.1"))
        .await
        .unwrap();
    assert!(!is_within_limit(&proxy, "198.51.102.1").await);

    // A socket beside the proxy is believed nothing.
    let beside = from(&stack, PROXY - 1);
    assert!(is_within_limit(&beside, "198.51.103.1").await);
    assert!(!is_within_limit(&beside, "198.51.103.2").await);

    // A call without an address counts for the proxy's socket, and the refusal says so.
    check(&proxy, "x-forwarded-for", None).await.unwrap();
    for unusable in [None, Some("unknown")] {
        let refused = check(&proxy, "x-forwarded-for", unusable).await.unwrap_err();
        assert_eq!(reason(&refused), "RATE_LIMITED");
        let details = refused.get_error_details();
        let quota = &details.quota_failure().unwrap().violations[0];
        assert!(
            quota.description.contains("calling service or proxy"),
            "{quota:?}"
        );
    }
    let page = Metrics::read(stack.identity.listeners.metrics).await;
    let unusable = |reason| page.sum("haven_forwarded_address_unusable_total", &[("reason", reason)]);
    assert_eq!(unusable("missing"), Some(2.0));
    assert_eq!(unusable("malformed"), Some(1.0));
}

/// All are on one connection, as behind a proxy.
#[tokio::test]
async fn an_attacker_behind_a_trusted_proxy_leaves_places_to_its_neighbours() {
    // 16 places for watches, of which a lone network has half.
    let stack = Stack::builder()
        .variable("data", "MAX_IN_FLIGHT", "64")
        .variable("data", "TRUSTED_PROXIES", "127.0.0.9")
        .start()
        .await
        .unwrap();
    let proxy = from(&stack, PROXY);
    let mut devices = Vec::new();
    for _ in 0..12 {
        devices.push(Device::invent(&stack).await.unwrap());
    }
    let watch = async |device: &Device, address: &str| {
        let mut request = Request::new(WatchChangesRequest {
            device_id: device.id.to_string(),
            cursor: String::new(),
        });
        let metadata = request.metadata_mut();
        metadata.insert("x-forwarded-for", address.parse().unwrap());
        let client = proxy.with_token(&device.person.token).unwrap();
        let answer = client.cycle().watch_changes(request).await?;
        Ok::<_, Status>(answer.into_inner())
    };
    let (mut held, mut refused) = (Vec::new(), None);
    for device in &devices {
        match watch(device, "198.51.100.66").await {
            Ok(open) => held.push(open),
            Err(status) => {
                refused = Some(status);
                break;
            }
        }
    }
    let refused = refused.expect("the attacker has every place");
    assert_eq!(reason(&refused), "TOO_MANY_CALLS");
    assert_eq!(metadata(&refused, "holder"), "NETWORK");
    assert_eq!(held.len(), 8);
    for (person, device) in devices[8..].iter().enumerate() {
        held.push(watch(device, &format!("198.51.100.{person}")).await.unwrap());
    }
}

/// Opens a connection from 127.0.0.`network`. `None` when the server closes it at once.
async fn connect(stack: &Stack, network: u8) -> Option<TlsStream<TcpStream>> {
    let mut stream = tls_from(&stack.certificates, stack.identity.listeners.api, network)
        .await
        .ok()?;
    let opening = [PREFACE, &frame(kind::SETTINGS, 0, 0, &[])].concat();
    stream.write_all(&opening).await.ok()?;
    let mut first = [0; 1];
    let read = timeout(Duration::from_secs(10), stream.read(&mut first)).await;
    let read = read.expect("neither an answer nor an end").ok()?;
    (read > 0).then_some(stream)
}

async fn connect_until_refused(stack: &Stack, network: u8) -> Vec<TlsStream<TcpStream>> {
    let mut open = Vec::new();
    while let Some(stream) = connect(stack, network).await {
        open.push(stream);
        assert!(open.len() < 100, "there is no limit");
    }
    open
}

#[tokio::test]
async fn a_trusted_proxy_has_more_connections_than_a_stranger_and_not_all() {
    let stack = Stack::builder()
        .variable("identity", "MAX_CONNECTIONS", "32")
        .variable("identity", "TRUSTED_PROXIES", "127.0.0.9")
        .start()
        .await
        .unwrap();
    let stranger = connect_until_refused(&stack, PROXY - 1).await;
    assert!((10..=16).contains(&stranger.len()), "{}", stranger.len());
    drop(stranger);
    // The server sees the end of a connection a moment later.
    crate::eventually::eventually("the connections are free again", async || {
        let page = Metrics::read(stack.identity.listeners.metrics).await;
        page.sum("haven_connections", &[]).unwrap_or_default() < 5.0
    })
    .await;
    let proxied = connect_until_refused(&stack, PROXY).await;
    assert!((20..=26).contains(&proxied.len()), "{}", proxied.len());
    assert!(connect(&stack, PROXY - 1).await.is_some());
}
