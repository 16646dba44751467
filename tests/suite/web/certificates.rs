//! A browser with the certificate of a service: its pages get no rights of the service.

use haven_platform::reason::Reason;

use super::{bearer, browser, encoded, path, start, start_with};
use crate::{
    browser::{Http, header},
    eventually::eventually,
    platform::probe::{Probe, proto, requests},
    status::{metadata, reason},
};

#[tokio::test]
async fn a_page_never_acts_as_a_service() {
    let probe = start().await;
    for http in Http::BOTH {
        let mut browser = browser(&probe, http);
        browser.certificate = Some("backend");
        let asked: proto::AskAsAnyoneResponse = browser.call(&path("AskAsAnyone"), &[], b"").await.message();
        assert_eq!(asked.caller, "no user, no service", "{http:?}");
        // The service itself may call these.
        let status = browser.call(&path("AskAsUserOrService"), &[], b"").await.status();
        assert_eq!(reason(&status), "TOKEN_INVALID", "{http:?}");
        let status = browser.call(&path("Stream"), &[], b"").await.status();
        assert_eq!(reason(&status), "TOKEN_INVALID", "{http:?}");
        let answer = browser.open(&path("AskAsService"), &[], b"").await;
        assert_eq!(
            answer.head.status,
            http::StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "{http:?}"
        );
        // With a token it is the person alone.
        let token = bearer(&probe);
        let answer = browser
            .call(&path("AskAsUserOrService"), &[("authorization", &token)], b"")
            .await;
        let asked: proto::AskAsUserOrServiceResponse = answer.message();
        assert_eq!(asked.caller, format!("{}, no service", Probe::claims().sub));
    }
    let asked = probe
        .service()
        .ask_as_service(proto::AskAsServiceRequest {})
        .await;
    assert_eq!(asked.unwrap().into_inner().caller, "no user, backend");
}

/// No header makes a request one of a browser, or takes that away.
#[tokio::test]
async fn the_mark_of_a_browser_cannot_be_sent() {
    let probe = start().await;
    for http in Http::BOTH {
        let mut stranger = browser(&probe, http);
        stranger.certificate = Some("backend");
        for name in [
            "x-haven-service",
            "x-from-browser",
            "x-client-cert",
            "x-user-id",
            "from-browser",
        ] {
            let answer = stranger
                .call(&path("AskAsUserOrService"), &[(name, "backend")], b"")
                .await;
            assert_eq!(reason(&answer.status()), "TOKEN_INVALID", "{name}");
        }
        // Without an origin it is no browser, and gRPC-Web is not served.
        stranger.origin = None;
        for name in ["x-grpc-web", "x-from-browser", "from-browser"] {
            let answer = stranger.open(&path("AskAsAnyone"), &[(name, "1")], b"").await;
            assert_eq!(
                answer.head.status,
                http::StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "{name}"
            );
        }
    }
}

/// Its calls take the places of strangers, not those of the service.
#[tokio::test]
async fn a_page_has_no_places_of_a_service() {
    let mut few = requests();
    few.max_in_flight = 16;
    let probe = start_with(few).await;
    let mut browser = browser(&probe, Http::Two);
    browser.certificate = Some("backend");
    let wait = encoded(&proto::WaitRequest {
        millis: 8_000,
        bytes: 0,
    });
    let mut held = Vec::new();
    for _ in 0..8 {
        let (browser, wait) = (browser.clone(), wait.clone());
        held.push(tokio::spawn(async move {
            browser.call(&path("Wait"), &[], &wait).await
        }));
    }
    eventually("the page has no place left", async || {
        let answer = browser
            .call(
                &path("Fail"),
                &[],
                &encoded(&proto::FailRequest {
                    reason: Reason::NotFound.into(),
                }),
            )
            .await;
        let status = answer.status();
        if reason(&status) == "NOT_FOUND" {
            return false;
        }
        // Of the six places for strangers one network leaves a third to others, and the browser reads the reason.
        assert_eq!(reason(&status), "TOO_MANY_CALLS");
        assert_eq!(metadata(&status, "holder"), "NETWORK");
        assert_eq!(header(&answer.head, "grpc-retry-pushback-ms"), "250");
        true
    })
    .await;
    let asked = probe
        .service()
        .ask_as_service(proto::AskAsServiceRequest {})
        .await;
    assert_eq!(asked.unwrap().into_inner().caller, "no user, backend");
}
