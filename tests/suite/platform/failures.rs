//! Error contract: every failure of a call carries the published details.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use haven_platform::{config::Requests, reason::Reason};
use tonic::{Code, Request, Status, metadata::MetadataMap};
use tonic_types::StatusExt;

use super::probe::{Probe, proto, requests};
use crate::{
    eventually::eventually,
    raw_call,
    status::{metadata, reason, violations},
};

#[tokio::test]
async fn every_reason_leaves_as_it_is_published() {
    let probe = Probe::start().await;
    let pool = prost_reflect::DescriptorPool::decode(haven_proto::FILE_DESCRIPTOR_SET).unwrap();
    let published = pool.get_enum_by_name("haven.errors.v1.Reason").unwrap();
    let mut contract = String::new();
    for value in published.values().filter(|value| value.number() != 0) {
        let request = proto::FailRequest {
            reason: value.number(),
        };
        let status = probe.client().fail(request).await.unwrap_err();
        let name = reason(&status);
        assert_eq!(format!("REASON_{name}"), value.name());
        assert!(
            !format!("{status:?}").contains("really happened"),
            "the internal cause is in the status"
        );
        let retry = status
            .get_error_details()
            .retry_info()
            .and_then(|info| info.retry_delay);
        contract += &format!(
            "{name}: {:?}, retry {retry:?}, pushback {:?}\n  {}\n",
            status.code(),
            pushback(&status),
            status.message()
        );
    }
    insta::assert_snapshot!(contract);
}

/// Returns the pause before a retry, as gRPC libraries read it.
fn pushback(status: &Status) -> Option<&str> {
    let value = status.metadata().get("grpc-retry-pushback-ms")?;
    Some(value.to_str().unwrap())
}

#[tokio::test]
async fn a_retry_that_would_come_after_the_deadline_is_forbidden() {
    let probe = Probe::start().await;
    for (deadline, expected) in [
        (Duration::from_secs(30), "1000"),
        (Duration::from_millis(900), "-1"),
    ] {
        let mut request = Request::new(proto::FailRequest {
            reason: Reason::DependencyUnavailable.into(),
        });
        request.set_timeout(deadline);
        let status = probe.client().fail(request).await.unwrap_err();
        assert_eq!(reason(&status), "DEPENDENCY_UNAVAILABLE");
        assert_eq!(pushback(&status), Some(expected), "{deadline:?}");
    }
}

#[tokio::test]
async fn a_panic_fails_its_call_and_the_server_keeps_serving() {
    let probe = Probe::start().await;
    let status = probe
        .client()
        .fail(proto::FailRequest { reason: 0 })
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "INTERNAL");
    assert!(!format!("{status:?}").contains("secret"), "{status:?}");

    let mut stream = probe
        .service()
        .stream(proto::StreamRequest {
            count: 2,
            millis: 0,
            panic: true,
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().number, 0);
    assert_eq!(stream.message().await.unwrap().unwrap().number, 1);
    let status = stream.message().await.unwrap_err();
    assert_eq!(reason(&status), "INTERNAL");
    assert!(
        probe
            .client()
            .ask_as_anyone(proto::AskAsAnyoneRequest {})
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_malformed_message_is_an_invalid_field() {
    let probe = Probe::start().await;
    // An unterminated varint; a field of another type; a string that is not UTF-8; a length beyond the end.
    for bytes in [&[0xff; 12][..], &[0x0a, 0x01, 0x61], &[0x08], &[0x12, 0x7f, 0x00]] {
        let status = raw(&probe, "/haven.testing.v1.ProbeService/Fail", bytes.to_vec())
            .await
            .unwrap_err();
        assert_eq!(reason(&status), "INVALID_FIELD", "{bytes:?}");
        assert_eq!(violations(&status), [(String::new(), "MALFORMED".to_owned())]);
    }
}

#[tokio::test]
async fn an_unknown_path_is_unimplemented() {
    let probe = Probe::start().await;
    for path in [
        "/haven.testing.v1.ProbeService/Nothing",
        "/no.such.Service/Nothing",
        "/",
    ] {
        let status = raw(&probe, path, Vec::new()).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status)),
            (Code::Unimplemented, "UNIMPLEMENTED".to_owned()),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_in_both_directions() {
    let probe = Probe::start().await;
    let mut large = vec![0x0a, 0xff, 0xff, 0x7f];
    large.resize(2 * 1024 * 1024, 0);
    let status = raw(&probe, "/haven.testing.v1.ProbeService/Wait", large)
        .await
        .unwrap_err();
    let details = |status: &Status| {
        (
            reason(status),
            metadata(status, "message"),
            metadata(status, "limit_bytes"),
        )
    };
    let too_large =
        |which: &str, limit: &str| ("MESSAGE_TOO_LARGE".to_owned(), which.to_owned(), limit.to_owned());
    assert_eq!(details(&status), too_large("REQUEST", "65536"));

    let answer = proto::WaitRequest {
        millis: 0,
        bytes: 5 * 1024 * 1024,
    };
    let status = probe.client().wait(answer).await.unwrap_err();
    assert_eq!(details(&status), too_large("ANSWER", "4194304"));
}

#[tokio::test]
async fn calls_beyond_the_limit_are_refused_at_once() {
    let probe = Probe::start_with(Requests {
        // Two for calls, and so two for callers without credentials.
        max_in_flight: 4,
        ..requests()
    })
    .await;
    let wait = |millis| proto::WaitRequest { millis, bytes: 0 };
    // Connects first, so that only the call is measured.
    let mut refused = probe.client();
    refused.wait(wait(0)).await.unwrap();
    // Each has a network of its own: the last place is for a caller that has none.
    let busy: Vec<_> = [2, 3]
        .map(|network| {
            let mut client = probe.client_from(network);
            tokio::spawn(async move { client.wait(wait(3_000)).await })
        })
        .into();
    eventually("both calls are in flight", async || {
        probe.waits.load(Ordering::Relaxed) == 3
    })
    .await;
    // The shortest of several: other load makes a call slower, never faster.
    let mut shortest = Duration::MAX;
    for _ in 0..3 {
        let began = Instant::now();
        let status = refused.wait(wait(0)).await.unwrap_err();
        shortest = shortest.min(began.elapsed());
        assert_eq!(reason(&status), "OVERLOADED");
        assert!(status.get_error_details().retry_info().is_some());
    }
    assert!(shortest < Duration::from_millis(500), "{shortest:?}");
    for call in busy {
        call.await.unwrap().unwrap();
    }
    assert!(
        probe.client().wait(wait(0)).await.is_ok(),
        "the permits were not released"
    );
}

/// Streams leave permits for unary calls.
#[tokio::test]
async fn streams_get_an_eighth_of_the_permits() {
    let probe = Probe::start_with(Requests {
        max_in_flight: 16,
        ..requests()
    })
    .await;
    let open = async || {
        let request = proto::StreamRequest {
            count: 1_000,
            millis: 50,
            panic: false,
        };
        probe.service().stream(request).await
    };
    // There are two places. The last one is for a caller that has none.
    let streams = open().await.unwrap();
    assert_eq!(reason(&open().await.unwrap_err()), "TOO_MANY_CALLS");
    let wait = proto::WaitRequest { millis: 0, bytes: 0 };
    assert!(
        probe.client().wait(wait).await.is_ok(),
        "no permit is left for a unary call"
    );
    drop(streams);
    for _ in 0..100 {
        if open().await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the permits of streams were not released");
}

/// Makes a unary call with any bytes as its message.
async fn raw(probe: &Probe, path: &str, bytes: Vec<u8>) -> Result<(), Status> {
    raw_call::call(probe.channel(None), path, MetadataMap::new(), bytes)
        .await
        .map(drop)
}
