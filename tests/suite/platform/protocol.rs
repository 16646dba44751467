//! Requests that are not calls, or that have headers beyond the limit: they get a reason, and are not executed.

use std::sync::atomic::Ordering;

use http::StatusCode;
use tonic::{Code, Request, Status};

use super::probe::{Probe, proto};
use crate::{
    raw_call::{exchange, prefixed},
    status::{metadata, reason, violations},
};

#[tokio::test]
async fn only_exact_content_types_are_executed() {
    let probe = Probe::start().await;
    for content_type in [
        "application/grpc",
        "application/grpc+proto",
        "application/grpc; charset=utf-8",
        "application/grpcfoo",
        "application/grpc+json",
        "application/grpc-web",
        "application/grpc-web+proto",
        "application/grpc-web-text",
        "application/json",
        "application/x-protobuf",
    ] {
        let is_call = [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc; charset=utf-8",
        ]
        .contains(&content_type);
        let before = probe.waits.load(Ordering::Relaxed);
        let request = http::Request::post("https://localhost/haven.testing.v1.ProbeService/Wait")
            .header("content-type", content_type)
            .header("te", "trailers")
            .body(prefixed(0, 0, b""))
            .unwrap();
        let (head, _, trailers) = exchange(probe.channel(None), request).await;
        let executed = probe.waits.load(Ordering::Relaxed) - before;
        assert_eq!(executed, usize::from(is_call), "{content_type}");
        if is_call {
            assert_eq!(trailers["grpc-status"], "0", "{content_type}");
            continue;
        }
        assert_eq!(head.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{content_type}");
        let status = Status::from_header_map(&head.headers).unwrap();
        assert_eq!(reason(&status), "INVALID_FIELD", "{content_type}");
        assert_eq!(violations(&status), [(String::new(), "NOT_GRPC".to_owned())]);
    }
}

/// Calls Wait with a header of `size` bytes.
async fn with_header(probe: &Probe, size: usize) -> Result<(), Status> {
    let mut request = Request::new(proto::WaitRequest::default());
    let value = "x".repeat(size).parse().unwrap();
    request.metadata_mut().insert("x-large", value);
    probe.client().wait(request).await.map(drop)
}

#[tokio::test]
async fn headers_beyond_the_limit_get_a_reason() {
    let probe = Probe::start().await;
    with_header(&probe, 15 * 1024).await.unwrap();
    for size in [17 * 1024, 40 * 1024, 63 * 1024] {
        let status = with_header(&probe, size).await.unwrap_err();
        assert_eq!(
            (
                reason(&status),
                metadata(&status, "message"),
                metadata(&status, "limit_bytes")
            ),
            (
                "MESSAGE_TOO_LARGE".into(),
                "REQUEST_HEADERS".into(),
                "16384".into()
            ),
            "{size}"
        );
        let pushback = status.metadata().get("grpc-retry-pushback-ms");
        assert_eq!(pushback.unwrap(), "-1", "a retry does not help");
    }
    // HTTP/2 refuses larger ones itself, and reads on.
    let status = with_header(&probe, 80 * 1024).await.unwrap_err();
    assert_ne!(status.code(), Code::Ok);
    with_header(&probe, 1024).await.unwrap();
    assert_eq!(
        probe.waits.load(Ordering::Relaxed),
        2,
        "a refused call was executed"
    );
}
