//! Preflights: a browser asks whether a page may make a request.

use std::sync::atomic::Ordering;

use http::StatusCode;

use super::{NOT_LISTED, browser, path, start};
use crate::{
    browser::{Http, ORIGIN, header},
    metrics::Metrics,
    platform::probe::Probe,
};

/// Everything that connect-web and grpc-web send, and what their callers add.
const SENT: &str = "authorization,content-type,grpc-timeout,traceparent,x-grpc-web,x-request-id,x-user-agent";

fn sorted(list: &str) -> Vec<&str> {
    let mut names: Vec<_> = list.split(',').map(str::trim).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn a_listed_page_may_post_with_the_headers_of_grpc_web() {
    let probe = start().await;
    for http in Http::BOTH {
        for rpc in ["AskAsAnyone", "AskAsUser", "AskAsService"] {
            let browser = browser(&probe, http);
            let (head, body) = browser.preflight(&path(rpc), "POST", SENT).await;
            assert_eq!(head.status, StatusCode::OK, "{http:?}");
            assert!(body.is_empty());
            assert_eq!(header(&head, "access-control-allow-origin"), ORIGIN);
            assert_eq!(header(&head, "access-control-allow-methods"), "POST");
            assert_eq!(
                sorted(header(&head, "access-control-allow-headers")),
                sorted(SENT)
            );
            assert_eq!(header(&head, "access-control-max-age"), "7200");
            assert_eq!(header(&head, "vary"), "origin");
            // A page has no cookies here, and a browser sends no certificate to a server that does not ask for credentials.
            assert_eq!(header(&head, "access-control-allow-credentials"), "");
            // It is no call.
            assert_eq!(header(&head, "x-request-id"), "");
        }
    }
    assert_eq!(probe.waits.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_page_that_is_not_listed_is_told_nothing() {
    let probe = start().await;
    for http in Http::BOTH {
        for origin in NOT_LISTED {
            let mut browser = browser(&probe, http);
            browser.origin = origin;
            let (head, _) = browser.preflight(&path("AskAsAnyone"), "POST", SENT).await;
            assert_refused(&head, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
    }
}

#[tokio::test]
async fn without_origins_there_is_no_preflight() {
    let probe = Probe::start().await;
    let browser = browser(&probe, Http::Two);
    let (head, _) = browser.preflight(&path("AskAsAnyone"), "POST", SENT).await;
    assert_refused(&head, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

/// A preflight holds no place of a call: it is answered while a call would be refused.
#[tokio::test]
async fn preflights_are_no_calls() {
    let stack = haven_testkit::Stack::builder()
        .web_origins(ORIGIN)
        .start()
        .await
        .unwrap();
    let before = calls(&stack).await;
    for http in Http::BOTH {
        let browser = crate::browser::Browser::new(&stack.certificates, stack.data.listeners.api, http);
        for _ in 0..20 {
            let (head, _) = browser
                .preflight("/haven.data.v1.CycleService/PullChanges", "POST", SENT)
                .await;
            assert_eq!(header(&head, "access-control-allow-origin"), ORIGIN);
        }
    }
    assert_eq!(calls(&stack).await, before);
}

async fn calls(stack: &haven_testkit::Stack) -> f64 {
    let page = Metrics::read(stack.data.listeners.metrics).await;
    page.sum("haven_rpc_duration_seconds_count", &[("rpc", "unknown")])
        .unwrap_or_default()
        + page
            .sum(
                "haven_rpc_duration_seconds_count",
                &[("rpc", "haven.data.v1.CycleService/PullChanges")],
            )
            .unwrap_or_default()
}

/// Asserts that an answer is a refusal without a header of CORS.
fn assert_refused(head: &http::response::Parts, status: StatusCode) {
    assert_eq!(head.status, status);
    assert_no_cors(head);
}

/// Asserts that no header of an answer is one of CORS.
pub(super) fn assert_no_cors(head: &http::response::Parts) {
    for name in head.headers.keys() {
        let is_cors = name.as_str().starts_with("access-control-") || name == "vary";
        assert!(!is_cors, "{name}");
    }
}
