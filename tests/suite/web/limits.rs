//! The limits of calls hold for browsers too, and a page reads which one it met.

use std::time::Duration;

use http::StatusCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout},
};

use super::{bearer, browser, encoded, path, start, start_with};
use crate::{
    browser::{Http, ORIGIN, header},
    platform::probe::{proto, requests},
    status::{metadata, reason},
};

/// Base64 has a third more bytes; the limit is that of the message.
#[tokio::test]
async fn a_message_beyond_the_limit_is_refused_also_in_base64() {
    let probe = start().await;
    let limit = requests().max_request_bytes;
    // A field that the message does not have is skipped.
    let message = |size: usize| crate::raw_call::field(1_000, &vec![7; size]);
    for http in Http::BOTH {
        for content_type in ["application/grpc-web+proto", "application/grpc-web-text"] {
            let mut browser = browser(&probe, http);
            browser.content_type = content_type;
            let fits = browser
                .call(&path("AskAsAnyone"), &[], &message(limit - 100))
                .await;
            assert_eq!(fits.messages.len(), 1, "{http:?} {content_type}: {fits:?}");
            let status = browser
                .call(&path("AskAsAnyone"), &[], &message(limit + 1))
                .await
                .status();
            assert_eq!(reason(&status), "MESSAGE_TOO_LARGE", "{http:?} {content_type}");
            assert_eq!(metadata(&status, "message"), "REQUEST");
            assert_eq!(metadata(&status, "limit_bytes"), limit.to_string());
        }
    }
}

#[tokio::test]
async fn headers_beyond_the_limit_are_refused() {
    let probe = start().await;
    for http in Http::BOTH {
        let browser = browser(&probe, http);
        let fits = "x".repeat(15 * 1024);
        let answer = browser
            .call(&path("AskAsAnyone"), &[("x-large", &fits)], b"")
            .await;
        assert_eq!(answer.messages.len(), 1, "{http:?}");
        let large = "x".repeat(40 * 1024);
        let answer = browser
            .call(&path("AskAsAnyone"), &[("x-large", &large)], b"")
            .await;
        let status = answer.status();
        assert_eq!(reason(&status), "MESSAGE_TOO_LARGE", "{http:?}");
        assert_eq!(metadata(&status, "message"), "REQUEST_HEADERS");
    }
    // HTTP itself refuses many headers, and larger ones.
    let browser = browser(&probe, Http::One);
    let many: Vec<_> = (0..120).map(|number| format!("x-{number}")).collect();
    let many: Vec<_> = many.iter().map(|name| (name.as_str(), "1")).collect();
    let huge = "x".repeat(600 * 1024);
    for headers in [many, vec![("x-huge", huge.as_str())]] {
        let mut request = format!(
            "POST {} HTTP/1.1\r\nhost: localhost\r\norigin: {ORIGIN}\r\n",
            path("AskAsAnyone")
        );
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += "\r\n";
        let answer = crate::raw_socket::exchange(browser.connect().await, request.as_bytes()).await;
        let answer = String::from_utf8_lossy(&answer);
        // A reset may be faster than the answer.
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 431 "),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn the_deadline_of_a_page_holds() {
    let probe = start().await;
    for http in Http::BOTH {
        let browser = browser(&probe, http);
        let wait = encoded(&proto::WaitRequest {
            millis: 20_000,
            bytes: 0,
        });
        let began = Instant::now();
        let answer = browser
            .call(&path("Wait"), &[("grpc-timeout", "700m")], &wait)
            .await;
        assert_eq!(reason(&answer.status()), "DEADLINE", "{http:?}");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        let answer = browser
            .call(&path("Wait"), &[("grpc-timeout", "soon")], &wait)
            .await;
        assert_eq!(reason(&answer.status()), "INVALID_FIELD", "{http:?}");
    }
}

#[tokio::test]
async fn a_page_without_a_place_reads_when_to_try_again() {
    let mut few = requests();
    few.max_in_flight = 8;
    let probe = start_with(few).await;
    for http in Http::BOTH {
        let browser = browser(&probe, http);
        let wait = encoded(&proto::WaitRequest {
            millis: 3_000,
            bytes: 0,
        });
        let calls = (0..8).map(|_| {
            let (browser, wait) = (browser.clone(), wait.clone());
            async move { browser.call(&path("Wait"), &[], &wait).await }
        });
        let answers = futures_util::future::join_all(calls).await;
        let refused: Vec<_> = answers
            .iter()
            .filter(|answer| answer.messages.is_empty())
            .collect();
        assert!((1..8).contains(&refused.len()), "{http:?}: {}", refused.len());
        for answer in refused {
            assert_eq!(reason(&answer.status()), "TOO_MANY_CALLS", "{http:?}");
            assert_eq!(header(&answer.head, "access-control-allow-origin"), ORIGIN);
            assert_eq!(header(&answer.head, "grpc-retry-pushback-ms"), "250");
        }
    }
}

/// A person's share of streams.
#[tokio::test]
async fn a_person_has_as_many_watches_in_browsers_as_elsewhere() {
    let probe = start().await;
    let token = bearer(&probe);
    let mut held = Vec::new();
    let refused = loop {
        let http = Http::BOTH[held.len() % 2];
        let mut answer = browser(&probe, http)
            .open(&path("WatchNothing"), &[("authorization", &token)], b"")
            .await;
        if answer.head.headers.contains_key("grpc-status") {
            break answer.whole().await;
        }
        answer.message().await;
        held.push(answer);
        assert!(
            held.len() <= crate::platform::probe::STREAMS_PER_USER,
            "there is no limit"
        );
    };
    assert_eq!(held.len(), crate::platform::probe::STREAMS_PER_USER);
    assert_eq!(reason(&refused.status()), "TOO_MANY_CALLS");
    assert_eq!(metadata(&refused.status(), "holder"), "USER");
}

/// The headers of a call come, and its message does not.
#[tokio::test]
async fn a_request_without_its_body_is_answered_in_time() {
    let mut quick = requests();
    quick.request_body_timeout = Duration::from_secs(1);
    let probe = start_with(quick).await;
    let browser = browser(&probe, Http::One);
    for sent in [&b""[..], b"\0\0\0", b"\0\0\0\0\x10xx"] {
        let mut stream = browser.connect().await;
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: localhost\r\norigin: {ORIGIN}\r\ncontent-type: application/grpc-web\r\n\
             content-length: 21\r\n\r\n",
            path("AskAsAnyone")
        );
        stream.write_all(&[head.as_bytes(), sent].concat()).await.unwrap();
        let began = Instant::now();
        let mut answer = Vec::new();
        // The server closes a connection with the rest of a request.
        let read = timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
        read.expect("the connection is still open").ok();
        assert!(
            began.elapsed() >= Duration::from_millis(900),
            "{:?}",
            began.elapsed()
        );
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains("grpc-status: 4\r\n"), "{answer}");
    }
}

/// A page cannot send a request of any size to what is refused.
#[tokio::test]
async fn a_refusal_does_not_read_the_request() {
    let probe = start().await;
    let mut browser = browser(&probe, Http::One);
    browser.origin = Some("https://evil.example");
    let mut stream = browser.connect().await;
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: localhost\r\norigin: https://evil.example\r\ncontent-type: application/grpc-web\r\n\
         content-length: 1000000000\r\n\r\n",
        path("AskAsAnyone")
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
    read.expect("the connection is still open").ok();
    let expected = format!("HTTP/1.1 {} ", StatusCode::UNSUPPORTED_MEDIA_TYPE.as_u16());
    assert!(
        answer.starts_with(expected.as_bytes()),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}
