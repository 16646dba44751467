//! Calls of a page, over HTTP/2 and HTTP/1.1, in bytes and in Base64.

use std::time::Duration;

use haven_platform::{auth::SessionDigest, call::UserId, reason::Reason};
use tokio::time::{Instant, timeout};
use tonic::Code;
use tonic_types::StatusExt;

use super::{bearer, browser, encoded, path, start};
use crate::{
    browser::{Browser, Frame, Http, ORIGIN, header},
    platform::probe::{Probe, proto},
    status::reason,
};

/// Each way in which a page can call.
fn ways(probe: &Probe) -> Vec<Browser> {
    let mut ways = Vec::new();
    for http in Http::BOTH {
        for content_type in [
            "application/grpc-web",
            "application/grpc-web+proto",
            "application/grpc-web-text",
            "application/grpc-web-text+proto",
        ] {
            let mut way = browser(probe, http);
            way.content_type = content_type;
            ways.push(way);
        }
    }
    ways
}

#[tokio::test]
async fn a_page_calls_as_its_person_and_reads_the_request_id() {
    let probe = start().await;
    let (token, id) = (bearer(&probe), "01a20104-b126-7eb3-aa9c-54bf0f721cc6");
    for browser in ways(&probe) {
        let what = format!("{:?} {}", browser.http, browser.content_type);
        let answer = browser
            .call(&path("AskAsAnyone"), &[("x-request-id", id)], b"")
            .await;
        let asked: proto::AskAsAnyoneResponse = answer.message();
        assert_eq!(asked.caller, "no user, no service", "{what}");
        assert_eq!(header(&answer.head, "x-request-id"), id, "{what}");
        assert_eq!(
            header(&answer.head, "access-control-allow-origin"),
            ORIGIN,
            "{what}"
        );
        assert_eq!(header(&answer.head, "vary"), "origin", "{what}");
        let exposed = header(&answer.head, "access-control-expose-headers");
        for name in [
            "grpc-status",
            "grpc-message",
            "grpc-status-details-bin",
            "x-request-id",
            "grpc-retry-pushback-ms",
            "haven-key-rotation-due-time",
        ] {
            assert!(
                exposed.split(',').any(|exposed| exposed == name),
                "{what}: {exposed}"
            );
        }
        for rpc in ["AskAsUser", "AskAsUserOrService"] {
            let answer = browser.call(&path(rpc), &[("authorization", &token)], b"").await;
            let asked: proto::AskAsUserResponse = answer.message();
            assert_eq!(
                asked.caller,
                format!("{}, no service", Probe::claims().sub),
                "{what}"
            );
            // Without a token it is anyone.
            let status = browser.call(&path(rpc), &[], b"").await.status();
            assert_eq!(reason(&status), "TOKEN_INVALID", "{what}");
        }
    }
}

#[tokio::test]
async fn a_page_reads_every_detail_of_an_error() {
    let probe = start().await;
    for browser in ways(&probe) {
        for expected in [
            Reason::RateLimited,
            Reason::EmailTaken,
            Reason::Overloaded,
            Reason::Internal,
        ] {
            let request = proto::FailRequest {
                reason: expected.into(),
            };
            let answer = browser.call(&path("Fail"), &[], &encoded(&request)).await;
            let status = answer.status();
            assert_eq!(
                reason(&status),
                expected.as_str_name().trim_start_matches("REASON_")
            );
            let info = status.get_details_request_info().unwrap();
            assert_eq!(info.request_id, header(&answer.head, "x-request-id"));
        }
        // What tonic refuses, and what panics, has a reason too.
        let answer = browser.call(&path("Fail"), &[], b"not a message").await;
        assert_eq!(reason(&answer.status()), "INVALID_FIELD");
        let answer = browser.call(&path("Fail"), &[], b"").await;
        assert_eq!(reason(&answer.status()), "INTERNAL");
    }
}

/// Bytes that are not the Base64 of anything.
#[tokio::test]
async fn malformed_base64_is_a_malformed_message() {
    let probe = start().await;
    for http in Http::BOTH {
        let browser = browser(&probe, http);
        for body in ["%%%%", "AAAA%", "AAA"] {
            let content = [("content-type", "application/grpc-web-text")];
            let request = browser
                .request("POST", &path("AskAsAnyone"), &content)
                .body(body.as_bytes().to_vec())
                .unwrap();
            let (head, _) = browser.send(request).await;
            let status = tonic::Status::from_header_map(&head.headers).unwrap();
            assert_eq!(reason(&status), "INVALID_FIELD", "{body}");
        }
    }
}

#[tokio::test]
async fn a_stream_arrives_message_by_message() {
    let probe = start().await;
    let token = bearer(&probe);
    for browser in ways(&probe) {
        let what = format!("{:?} {}", browser.http, browser.content_type);
        let request = proto::StreamRequest {
            count: 4,
            millis: 400,
            panic: false,
        };
        let began = Instant::now();
        let mut answer = browser
            .open(&path("Stream"), &[("authorization", &token)], &encoded(&request))
            .await;
        for number in 0..4 {
            let message = answer.message().await;
            let read: proto::StreamResponse = prost::Message::decode(message).unwrap();
            assert_eq!(read.number, number, "{what}");
            if number == 0 {
                assert!(
                    began.elapsed() < Duration::from_millis(1_000),
                    "{what}: {:?}",
                    began.elapsed()
                );
            }
        }
        let rest = answer.whole().await;
        assert!(rest.messages.is_empty());
        assert_eq!(rest.status().code(), Code::Ok, "{what}");
    }
}

#[tokio::test]
async fn a_watch_stays_open_and_ends_with_its_deadline() {
    let probe = start().await;
    let token = bearer(&probe);
    for browser in ways(&probe) {
        let headers = [("authorization", token.as_str()), ("grpc-timeout", "1500m")];
        let mut answer = browser.open(&path("WatchNothing"), &headers, b"").await;
        answer.message().await;
        let next = timeout(Duration::from_millis(700), answer.next()).await;
        assert!(next.is_err(), "{next:?}");
        let Some(Frame::Trailers(_)) = answer.next().await else {
            panic!("no status at the deadline");
        };
    }
}

#[tokio::test]
async fn a_person_who_signs_out_loses_the_watches_of_the_page() {
    let probe = start().await;
    let token = bearer(&probe);
    let mut answers = Vec::new();
    for browser in ways(&probe) {
        let mut answer = browser
            .open(&path("WatchNothing"), &[("authorization", &token)], b"")
            .await;
        answer.message().await;
        answers.push(answer);
    }
    let claims = Probe::claims();
    let digest = SessionDigest::of(UserId::new(claims.sub), claims.session_id.unwrap());
    probe.ended.replace([digest]);
    for answer in answers {
        let whole = timeout(Duration::from_secs(10), answer.whole()).await.unwrap();
        assert_eq!(reason(&whole.status()), "SESSION_REVOKED");
    }
}

/// Browsers decompress what HTTP says is compressed, and gRPC-Web clients nothing.
#[tokio::test]
async fn answers_to_pages_are_not_compressed() {
    let probe = start().await;
    let token = bearer(&probe);
    for browser in ways(&probe) {
        let headers = [
            ("authorization", token.as_str()),
            ("accept-encoding", "gzip, deflate, br, zstd"),
        ];
        let request = proto::PadRequest { bytes: 20_000 };
        let answer = browser.call(&path("Pad"), &headers, &encoded(&request)).await;
        // The fixture refuses a compressed frame.
        let padded: proto::PadResponse = answer.message();
        assert_eq!(padded.zeros.len(), 20_000);
        assert_eq!(header(&answer.head, "content-encoding"), "");
        assert_eq!(header(&answer.head, "grpc-encoding"), "");
    }
}
