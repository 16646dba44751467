//! Garbage on the socket: as bytes, as a handshake, as HTTP/1.1 and as HTTP/2.

use haven_testkit::service::Service;
use tokio::io::AsyncWriteExt;

use super::Served;
use crate::raw_socket::{WHOLE, exchange, frame, frames, header_block, kind, opening, tcp, tls};

fn both(served: &Served) -> [&Service; 2] {
    [&served.stack.identity, &served.stack.data]
}

#[tokio::test]
async fn bytes_that_are_no_handshake_are_turned_away() {
    let served = Served::start().await;
    let mut random: Vec<u8> = (0..4096).map(|_| rand::random()).collect();
    // Nothing of TLS begins with it: by chance they could be the beginning of a record, and more of it be waited for.
    random[0] = 0xff;
    let hello = client_hello();
    for service in both(&served) {
        for (what, bytes) in [
            ("random bytes", &random[..]),
            ("zeros", &[0; 4096]),
            ("HTTP/1.1", b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"),
            ("HTTP/2", &opening()),
            (
                "a record of 64 KiB",
                &[&[22, 3, 1, 0xff, 0xff][..], &[1; 512]].concat(),
            ),
            ("a handshake of 16 MiB", &[22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff]),
            ("an alert", &[21, 3, 3, 0, 2, 2, 40]),
            ("data before a handshake", &[23, 3, 3, 0, 1, 0]),
            ("a hello in SSL 2", &[0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10]),
            (
                "a hello, spoilt",
                &[&hello[..50], &[0xff; 100], &hello[150..]].concat(),
            ),
            ("two hellos", &[&hello[..], &hello].concat()),
        ] {
            let answer = exchange(tcp(service.listeners.api).await, bytes).await;
            // Where there is an answer, it is an alert of TLS; after a good hello there is more of a handshake before it.
            assert!(
                answer.is_empty() || [21, 22].contains(&answer[0]),
                "{}, {what}: {answer:?}",
                service.name
            );
            served.go_on(what).await;
        }
    }
}

#[tokio::test]
async fn half_a_handshake_holds_up_nobody() {
    let served = Served::start().await;
    let hello = client_hello();
    let mut open = Vec::new();
    for service in both(&served) {
        for length in [0, 1, 5, 50, hello.len() - 1, hello.len()] {
            for _ in 0..10 {
                let mut stream = tcp(service.listeners.api).await;
                stream.write_all(&hello[..length]).await.unwrap();
                open.push(stream);
            }
        }
    }
    served.go_on("half a handshake, still open").await;
    drop(open);
    served.go_on("half a handshake, given up").await;
}

#[tokio::test]
async fn what_is_no_http2_is_turned_away_after_the_handshake() {
    let served = Served::start().await;
    let certificates = &served.stack.certificates;
    for service in both(&served) {
        let port = service.listeners.api;
        let refused = tls(certificates, port, "localhost", &["http/1.1"]).await;
        assert!(
            refused.is_err(),
            "{}: a protocol that is not offered",
            service.name
        );
        for bytes in [
            &b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"[..],
            b"POST /haven.identity.v1.SessionService/SignIn HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n",
            b"\r\n\r\n",
            &[0xff; 1024],
        ] {
            for protocols in [&[][..], &["h2"]] {
                let stream = tls(certificates, port, "localhost", protocols).await.unwrap();
                let answer = exchange(stream, bytes).await;
                assert!(!answer.starts_with(b"HTTP/1.1 2"), "{}: {answer:?}", service.name);
            }
        }
        served.go_on("HTTP/1.1").await;
    }
}

#[tokio::test]
async fn a_bad_frame_ends_its_connection_and_no_other() {
    let served = Served::start().await;
    let request = header_block(&[
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/haven.identity.v1.SessionService/GetSigningKeys"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]);
    let huge = header_block(&[("x-large", &"x".repeat(60_000))]);
    // A stream that is begun and taken back, hundreds of times (CVE-2023-44487).
    let reset = (0..1_000u32).flat_map(|number| {
        let stream = 2 * number + 1;
        let cancel = frame(kind::RST_STREAM, 0, stream, &8u32.to_be_bytes());
        [frame(kind::HEADERS, 0x4, stream, &request), cancel].concat()
    });
    // A header that never ends (CVE-2024-27316).
    let continued = (0..600).flat_map(|_| frame(kind::CONTINUATION, 0, 1, &[0; 100]));
    let cases = [
        ("data of no stream", frame(kind::DATA, 0, 0, b"x")),
        (
            "data of a stream that was never begun",
            frame(kind::DATA, 0, 9, b"x"),
        ),
        (
            "a stream of the server's",
            frame(kind::HEADERS, WHOLE, 2, &request),
        ),
        (
            "headers that cannot be read",
            frame(kind::HEADERS, WHOLE, 1, &[0xff; 64]),
        ),
        ("a ping of 3 bytes", frame(kind::PING, 0, 0, b"abc")),
        ("settings of 7 bytes", frame(kind::SETTINGS, 0, 0, &[0; 7])),
        ("a window of nothing", frame(kind::WINDOW_UPDATE, 0, 0, &[0; 4])),
        (
            "a window without end",
            frame(kind::WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
        ),
        (
            "a frame of a megabyte",
            frame(kind::DATA, 0, 1, &vec![0; 1 << 20]),
        ),
        (
            "headers, continued by data",
            [
                frame(kind::HEADERS, 0, 1, &request),
                frame(kind::DATA, 0, 1, b"x"),
            ]
            .concat(),
        ),
        ("resets without end", reset.collect()),
        (
            "a header without end",
            [frame(kind::HEADERS, 0, 1, &huge[..16_000]), continued.collect()].concat(),
        ),
    ];
    for service in both(&served) {
        for (what, bytes) in &cases {
            let stream = tls(
                &served.stack.certificates,
                service.listeners.api,
                "localhost",
                &["h2"],
            )
            .await;
            let answer = exchange(stream.unwrap(), &[opening(), bytes.clone()].concat()).await;
            let goaway = frames(&answer)
                .into_iter()
                .rfind(|(kind, _)| *kind == kind::GOAWAY);
            let code = goaway.map(|(_, payload)| u32::from_be_bytes(payload[4..8].try_into().unwrap()));
            // Which error it is called is h2's choice; that it is one, ours to insist on.
            assert!(
                code.is_some_and(|code| code != 0),
                "{}, {what}: {code:?}",
                service.name
            );
            served.go_on(what).await;
        }
    }
}

/// What a client says first in a handshake.
fn client_hello() -> Vec<u8> {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = "localhost".try_into().unwrap();
    let mut connection = rustls::ClientConnection::new(config.into(), name).unwrap();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).unwrap();
    hello
}
