//! Requests that are not served: of other origins, in other content types, by other methods, of other RPCs, and all of them
//! without `WEB_ORIGINS`.

use std::sync::atomic::Ordering;

use http::{StatusCode, response::Parts};
use tonic::Status;

use super::{NOT_LISTED, browser, path, preflights::assert_no_cors, start};
use crate::{
    browser::{Browser, Http, ORIGIN, header},
    platform::probe::Probe,
    raw_call::prefixed,
    raw_socket::tls,
    status::{reason, violations},
};

/// The content types of gRPC-Web.
const GRPC_WEB: [&str; 4] = [
    "application/grpc-web",
    "application/grpc-web+proto",
    "application/grpc-web-text",
    "application/grpc-web-text+proto",
];

/// Calls the RPC at `path`, and returns the head of the answer.
async fn post(browser: &Browser, method: &str, path: &str, content_type: &str) -> Parts {
    let request = browser
        .request(method, path, &[("content-type", content_type)])
        .body(prefixed(0, 0, b""))
        .unwrap();
    browser.send(request).await.0
}

/// Asserts the refusal that every request gets that is not gRPC.
fn assert_not_grpc(head: &Parts, what: &str) {
    assert_eq!(head.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{what}");
    let status = Status::from_header_map(&head.headers).unwrap();
    assert_eq!(reason(&status), "INVALID_FIELD", "{what}");
    assert_eq!(
        violations(&status),
        [(String::new(), "NOT_GRPC".to_owned())],
        "{what}"
    );
    assert_ne!(header(head, "x-request-id"), "", "{what}");
}

#[tokio::test]
async fn pages_that_are_not_listed_are_refused_without_headers_of_cors() {
    let probe = start().await;
    for http in Http::BOTH {
        for origin in NOT_LISTED {
            let mut browser = browser(&probe, http);
            browser.origin = origin;
            for content_type in GRPC_WEB {
                let head = post(&browser, "POST", &path("Wait"), content_type).await;
                assert_not_grpc(&head, &format!("{http:?} {origin:?} {content_type}"));
                assert_no_cors(&head);
            }
        }
        // Two origins are none.
        let request = browser(&probe, http)
            .request(
                "POST",
                &path("Wait"),
                &[("origin", ORIGIN), ("content-type", GRPC_WEB[0])],
            )
            .body(prefixed(0, 0, b""))
            .unwrap();
        let (head, _) = browser(&probe, http).send(request).await;
        assert_not_grpc(&head, "two origins");
        assert_no_cors(&head);
    }
    assert_eq!(
        probe.waits.load(Ordering::Relaxed),
        0,
        "a refused call was executed"
    );
}

/// Plain gRPC too: a browser must not reach what only programs may.
#[tokio::test]
async fn a_listed_page_calls_in_grpc_web_and_reads_why_anything_else_is_refused() {
    let probe = start().await;
    for http in Http::BOTH {
        let browser = browser(&probe, http);
        for (method, rpc, content_type) in [
            ("POST", "Wait", "application/grpc"),
            ("POST", "Wait", "application/grpc+proto"),
            ("POST", "Wait", "application/grpc-web+json"),
            ("POST", "Wait", "application/grpc-web; charset=utf-8"),
            ("POST", "Wait", "application/grpc-webfoo"),
            ("POST", "Wait", "application/json"),
            ("POST", "Wait", "application/connect+proto"),
            ("POST", "Wait", "text/plain"),
            ("GET", "Wait", "application/grpc-web"),
            ("PUT", "Wait", "application/grpc-web"),
            ("POST", "AskAsService", "application/grpc-web"),
            ("POST", "Unknown", "application/grpc-web"),
        ] {
            let what = format!("{http:?} {method} {rpc} {content_type}");
            let head = post(&browser, method, &path(rpc), content_type).await;
            assert_not_grpc(&head, &what);
            assert_eq!(header(&head, "access-control-allow-origin"), ORIGIN, "{what}");
            assert_eq!(header(&head, "vary"), "origin", "{what}");
        }
    }
    assert_eq!(
        probe.waits.load(Ordering::Relaxed),
        0,
        "a refused call was executed"
    );
}

/// They admit anyone, and are for programs.
#[tokio::test]
async fn health_and_reflection_are_not_served_to_pages() {
    let probe = start().await;
    for http in Http::BOTH {
        for path in [
            "/grpc.health.v1.Health/Check",
            "/grpc.health.v1.Health/Watch",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        ] {
            let head = post(&browser(&probe, http), "POST", path, "application/grpc-web").await;
            assert_not_grpc(&head, path);
        }
    }
}

/// HTTP/1.1 has no trailers that a gRPC client could read.
#[tokio::test]
async fn grpc_itself_is_not_served_over_http1() {
    let probe = start().await;
    let mut browser = browser(&probe, Http::One);
    browser.origin = None;
    for content_type in ["application/grpc", "application/grpc+proto"] {
        let head = post(&browser, "POST", &path("Wait"), content_type).await;
        assert_not_grpc(&head, content_type);
    }
    assert_eq!(
        probe.waits.load(Ordering::Relaxed),
        0,
        "a refused call was executed"
    );
    // Over HTTP/2 it is as always.
    let mut client = probe.client();
    client
        .wait(crate::platform::probe::proto::WaitRequest::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn without_origins_nothing_is_served_to_browsers() {
    let probe = Probe::start().await;
    let browser = browser(&probe, Http::Two);
    for content_type in GRPC_WEB {
        let head = post(&browser, "POST", &path("Wait"), content_type).await;
        assert_not_grpc(&head, content_type);
        assert_no_cors(&head);
    }
    assert_eq!(
        probe.waits.load(Ordering::Relaxed),
        0,
        "a refused call was executed"
    );
    // HTTP/1.1 is not offered, and not spoken.
    let port = probe.addr.port();
    let refused = tls(&probe.certificates, port, "localhost", &["http/1.1"]).await;
    assert!(refused.is_err(), "HTTP/1.1 is offered");
    for protocols in [&["h2"][..], &[]] {
        let stream = tls(&probe.certificates, port, "localhost", protocols)
            .await
            .unwrap();
        let request = format!("POST {} HTTP/1.1\r\nhost: localhost\r\n\r\n", path("Wait"));
        let answer = crate::raw_socket::exchange(stream, request.as_bytes()).await;
        assert!(!answer.starts_with(b"HTTP/1"), "{answer:?}");
    }
}

/// A browser with both chooses HTTP/2.
#[tokio::test]
async fn both_versions_of_http_are_offered() {
    let probe = start().await;
    for (offered, chosen) in [
        (&["h2", "http/1.1"][..], Some("h2")),
        (&["http/1.1", "h2"], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        (&["h2"], Some("h2")),
        (&[], None),
    ] {
        let stream = tls(&probe.certificates, probe.addr.port(), "localhost", offered)
            .await
            .unwrap();
        let protocol = stream.get_ref().1.alpn_protocol();
        assert_eq!(protocol, chosen.map(str::as_bytes), "{offered:?}");
    }
}
