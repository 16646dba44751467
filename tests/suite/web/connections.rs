//! Connections of HTTP/1.1 that a browser would not make: they hold nothing for long.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::client::TlsStream;

use super::{browser, encoded, path, start};
use crate::{
    browser::{Http, ORIGIN},
    platform::probe::proto,
    raw_call::prefixed,
};

/// The time after which hyper closes a connection without complete headers, and the time of a busy machine.
const HEADERS: Duration = Duration::from_secs(30);
const BUSY: Duration = Duration::from_secs(10);

/// The time after which a connection is closed of which nothing is read.
const UNREAD: Duration = Duration::from_secs(45);

/// The time for the first bytes.
const FIRST_BYTES: Duration = Duration::from_secs(5);

/// Sends `part` again and again, with a pause of a second, until the server closes the connection. Returns after which time, and
/// what it answered.
async fn trickle(mut stream: TlsStream<TcpStream>, part: &[u8]) -> (Duration, Vec<u8>) {
    let began = Instant::now();
    let mut answer = Vec::new();
    loop {
        if stream.write_all(part).await.is_err() {
            break;
        }
        let read = timeout(Duration::from_secs(1), stream.read_buf(&mut answer)).await;
        if let Ok(Ok(0) | Err(_)) = read {
            break;
        }
        assert!(began.elapsed() < HEADERS + BUSY, "the connection is still open");
    }
    (began.elapsed(), answer)
}

fn head(rpc: &str, length: usize) -> Vec<u8> {
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: localhost\r\norigin: {ORIGIN}\r\ncontent-type: application/grpc-web\r\n\
         content-length: {length}\r\n\r\n",
        path(rpc)
    );
    head.into_bytes()
}

/// Slowloris: a header every second, and never the last one.
#[tokio::test]
async fn headers_that_never_end_close_their_connection() {
    let probe = start().await;
    let mut stream = browser(&probe, Http::One).connect().await;
    stream
        .write_all(b"POST / HTTP/1.1\r\nhost: localhost\r\n")
        .await
        .unwrap();
    let (took, _) = trickle(stream, b"x-a: b\r\n").await;
    assert!(took > HEADERS / 2 && took < HEADERS + BUSY, "{took:?}");
}

/// Headers may be as large as over HTTP/2, and what is larger is not collected until the time is over.
#[tokio::test]
async fn headers_that_are_too_large_close_their_connection() {
    let probe = start().await;
    let mut stream = browser(&probe, Http::One).connect().await;
    let call = [head("AskAsAnyone", 5), prefixed(0, 0, b"")].concat();
    stream.write_all(&call).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"0\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
    }
    let began = Instant::now();
    let unfinished = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\nx-large: {}",
        "x".repeat(80 * 1024)
    );
    // Fails when the server closed the connection before all of it was sent.
    let _ = stream.write_all(unfinished.as_bytes()).await;
    answer.clear();
    while stream.read_buf(&mut answer).await.is_ok_and(|read| read > 0) {}
    assert!(began.elapsed() < BUSY, "the connection stayed open");
}

/// Requests that are refused without a place, one after the other, by a client that reads no refusal.
#[tokio::test]
async fn a_client_that_reads_no_answer_is_not_read_either() {
    let probe = start().await;
    let mut browser = browser(&probe, Http::One);
    browser.receive_buffer = Some(4_096);
    let mut stream = browser.connect().await;
    let request = b"POST / HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\nx";
    let requests = request.repeat(100);
    let mut sent = 0;
    // The server stops to read when it cannot send; what was sent until then is in the buffers of sockets.
    while timeout(Duration::from_secs(3), stream.write_all(&requests))
        .await
        .is_ok_and(|wrote| wrote.is_ok())
    {
        sent += requests.len();
        assert!(sent < 64 << 20, "the server reads on: {sent} bytes");
    }
}

/// The same after a request that was answered, and with nothing at all.
#[tokio::test]
async fn an_idle_connection_is_closed() {
    let probe = start().await;
    for part in [&b"x"[..], b""] {
        let mut stream = browser(&probe, Http::One).connect().await;
        let request = [head("AskAsAnyone", 5), prefixed(0, 0, b"")].concat();
        stream.write_all(&request).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"0\r\n\r\n") {
            assert_ne!(
                stream.read_buf(&mut answer).await.unwrap(),
                0,
                "closed after its first call"
            );
        }
        // A second call on the same connection.
        stream.write_all(&request).await.unwrap();
        answer.clear();
        while !answer.ends_with(b"0\r\n\r\n") {
            assert_ne!(
                stream.read_buf(&mut answer).await.unwrap(),
                0,
                "closed after its first call"
            );
        }
        let (took, _) = trickle(stream, part).await;
        assert!(took > HEADERS / 2 && took < HEADERS + BUSY, "{took:?}");
    }
}

/// Before it is known which protocol a connection speaks, it has the time of a preface.
#[tokio::test]
async fn the_first_bytes_have_little_time() {
    let probe = start().await;
    for http in Http::BOTH {
        for first in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
            let mut stream = browser(&probe, http).connect().await;
            stream.write_all(first).await.unwrap();
            let (took, _) = trickle(stream, b"").await;
            assert!(
                took > FIRST_BYTES / 2 && took < FIRST_BYTES + BUSY,
                "{http:?}: {took:?}"
            );
        }
    }
}

/// What ALPN chose is not what the client speaks: both are served with the limits of what it speaks.
#[tokio::test]
async fn the_spoken_protocol_counts() {
    let probe = start().await;
    let mut stream = browser(&probe, Http::Two).connect().await;
    let request = [head("AskAsAnyone", 5), prefixed(0, 0, b"")].concat();
    stream.write_all(&request).await.unwrap();
    let mut first = [0; 15];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    let (took, _) = trickle(stream, b"").await;
    assert!(took > HEADERS / 2 && took < HEADERS + BUSY, "{took:?}");
    // HTTP/2 where HTTP/1.1 was chosen.
    let mut stream = browser(&probe, Http::One).connect().await;
    stream.write_all(&crate::raw_socket::opening()).await.unwrap();
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame[3], crate::raw_socket::kind::SETTINGS);
}

/// Bytes that are neither protocol.
#[tokio::test]
async fn garbage_is_refused_at_once() {
    let probe = start().await;
    for garbage in [
        &b"\0\0\0\x04\0"[..],
        b"SSH-2.0-client\r\n\r\n",
        b"GET\r\n\r\n",
        b"POST / HTTP/9.9\r\n\r\n",
    ] {
        let stream = browser(&probe, Http::One).connect().await;
        let answer = crate::raw_socket::exchange(stream, garbage).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400 "),
            "{answer}"
        );
    }
}

/// A call that the client breaks off is not continued.
#[tokio::test]
async fn a_call_ends_with_its_connection() {
    let probe = start().await;
    let wait = encoded(&proto::WaitRequest {
        millis: 60_000,
        bytes: 0,
    });
    let mut stream = browser(&probe, Http::One).connect().await;
    let body = prefixed(0, wait.len(), &wait);
    stream
        .write_all(&[head("Wait", body.len()), body].concat())
        .await
        .unwrap();
    crate::eventually::eventually("the call is executed", async || {
        probe.waits.load(Ordering::Relaxed) == 1
    })
    .await;
    drop(stream);
    probe.stop.cancel();
    timeout(Duration::from_secs(3), probe.served)
        .await
        .expect("the server waits for a call without a client")
        .unwrap();
}

/// Answers of all sizes of which nothing is read. What is small enough waits in the buffers of sockets, which the server does not
/// have to keep. Of what is larger a part waits in the server, in a message or already in the connection.
#[tokio::test]
async fn an_answer_that_is_not_read_closes_its_connection() {
    let probe = start().await;
    let mut browser = browser(&probe, Http::One);
    browser.receive_buffer = Some(4_096);
    let unread = (1..=13).map(async |number| {
        let wait = encoded(&proto::WaitRequest {
            millis: 0,
            bytes: number * 300_000,
        });
        let body = prefixed(0, wait.len(), &wait);
        let mut stream = browser.connect().await;
        let head = String::from_utf8(head("Wait", body.len())).unwrap();
        let head = head.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
        stream
            .write_all(&[head.as_bytes(), &body].concat())
            .await
            .unwrap();
        let began = Instant::now();
        // A write fails after the server closed the connection.
        while stream.write_all(b"x").await.is_ok() && stream.flush().await.is_ok() {
            assert!(
                began.elapsed() < UNREAD + BUSY,
                "the connection with {number} is still open"
            );
            sleep(Duration::from_millis(500)).await;
        }
    });
    futures_util::future::join_all(unread).await;
    assert_eq!(probe.waits.load(Ordering::Relaxed), 13);
}
