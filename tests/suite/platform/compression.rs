//! Compression: requests that clients compress, within the limit of a request, and answers that clients want compressed.

use std::io::{Read, Write};

use http::HeaderMap;
use prost::Message;
use tonic::{Code, Status, codec::CompressionEncoding};

use super::probe::{Probe, proto, with_token};
use crate::{
    raw_call::{exchange, prefixed},
    status::{metadata, reason, violations},
};

const WAIT: &str = "/haven.testing.v1.ProbeService/Wait";

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn zstd(content: &[u8]) -> Vec<u8> {
    zstd::encode_all(content, 19).unwrap()
}

/// Calls `path` with the compressed `message`, and returns the failure.
async fn refusal(probe: &Probe, path: &str, encoding: &str, message: &[u8]) -> (Status, HeaderMap) {
    let request = http::Request::post(format!("https://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-encoding", encoding)
        .body(prefixed(1, message.len(), message))
        .unwrap();
    let (head, _, trailers) = exchange(probe.channel(None), request).await;
    let status = Status::from_header_map(&trailers).or_else(|| Status::from_header_map(&head.headers));
    (status.expect("a status"), head.headers)
}

#[tokio::test]
async fn compressed_requests_are_read() {
    let probe = Probe::start().await;
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let mut client = probe.client().send_compressed(encoding);
        let request = proto::WaitRequest { millis: 0, bytes: 77 };
        assert_eq!(client.wait(request).await.unwrap().into_inner().padding.len(), 77);
    }
    // A request can say that it is not compressed.
    let (status, _) = refusal(&probe, "/haven.testing.v1.ProbeService/Nothing", "identity", b"").await;
    assert_eq!(reason(&status), "UNIMPLEMENTED");
}

/// The probe takes 64 KiB. Each of these is smaller, and more than a thousand times as large when it is decompressed.
#[tokio::test]
async fn a_request_that_is_too_large_when_it_is_decompressed_is_refused() {
    let probe = Probe::start().await;
    let zeros = vec![0; 50 * 1024 * 1024];
    for (encoding, message) in [("gzip", gzip(&zeros)), ("zstd", zstd(&zeros))] {
        assert!(message.len() < 60_000, "{encoding}: {}", message.len());
        let (status, _) = refusal(&probe, WAIT, encoding, &message).await;
        assert_eq!(
            (
                reason(&status),
                metadata(&status, "message"),
                metadata(&status, "limit_bytes")
            ),
            ("MESSAGE_TOO_LARGE".into(), "REQUEST".into(), "65536".into()),
            "{encoding}"
        );
    }
    // The health service has a limit of its own.
    let path = "/grpc.health.v1.Health/Check";
    let (status, _) = refusal(&probe, path, "zstd", &zstd(&zeros)).await;
    assert_eq!(metadata(&status, "limit_bytes"), "4096");
    assert_eq!(probe.waits.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_request_that_cannot_be_decompressed_is_malformed() {
    let probe = Probe::start().await;
    let request = proto::WaitRequest { millis: 0, bytes: 77 }.encode_to_vec();
    let (gzip, zstd) = (gzip(&request), zstd(&request));
    for (encoding, message) in [
        ("gzip", &gzip[..gzip.len() / 2]),
        ("zstd", &zstd[..zstd.len() / 2]),
        ("gzip", &zstd),
        ("zstd", &gzip),
        ("gzip", b"no compression at all"),
        ("identity", &request),
    ] {
        let (status, _) = refusal(&probe, WAIT, encoding, message).await;
        assert_eq!(reason(&status), "INVALID_FIELD", "{encoding}");
        assert_eq!(violations(&status), [(String::new(), "MALFORMED".to_owned())]);
    }
    assert_eq!(probe.waits.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[tokio::test]
async fn an_unknown_compression_has_a_reason_that_lists_the_known_ones() {
    let probe = Probe::start().await;
    for encoding in ["deflate", "br", "snappy", "GZIP", "gzip,zstd", ""] {
        let (status, headers) = refusal(&probe, WAIT, encoding, b"abc").await;
        assert_eq!(
            (status.code(), reason(&status)),
            (Code::Unimplemented, "ENCODING_UNSUPPORTED".to_owned()),
            "{encoding:?}"
        );
        assert_eq!(metadata(&status, "accepted"), "identity,gzip,zstd");
        // As the specification of gRPC asks for.
        assert_eq!(headers["grpc-accept-encoding"], "identity,gzip,zstd");
    }
    assert_eq!(probe.waits.load(std::sync::atomic::Ordering::Relaxed), 0);
}

/// Calls Pad, and returns the compression of the answer, the flag and the length of its message, and the message.
async fn pad(probe: &Probe, accepted: &str, bytes: i64) -> (Option<String>, u8, usize, proto::PadResponse) {
    let message = proto::PadRequest { bytes }.encode_to_vec();
    let mut request = http::Request::post("https://localhost/haven.testing.v1.ProbeService/Pad")
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let token = probe.token(&Probe::claims());
    request = request.header("authorization", format!("Bearer {token}"));
    if !accepted.is_empty() {
        request = request.header("grpc-accept-encoding", accepted);
    }
    let request = request.body(prefixed(0, message.len(), &message)).unwrap();
    let (head, body, trailers) = exchange(probe.channel(None), request).await;
    assert_eq!(trailers["grpc-status"], "0");
    let encoding = head.headers.get("grpc-encoding");
    let encoding = encoding.map(|encoding| encoding.to_str().unwrap().to_owned());
    let length = u32::from_be_bytes(body[1..5].try_into().unwrap()) as usize;
    assert_eq!(body.len(), 5 + length);
    let sent = &body[5..];
    let read = match (body[0], encoding.as_deref()) {
        (0, _) => sent.to_vec(),
        (1, Some("zstd")) => zstd::decode_all(sent).unwrap(),
        (1, Some("gzip")) => {
            let mut read = Vec::new();
            flate2::read::GzDecoder::new(sent).read_to_end(&mut read).unwrap();
            read
        }
        other => panic!("{other:?}"),
    };
    (
        encoding,
        body[0],
        length,
        proto::PadResponse::decode(&read[..]).unwrap(),
    )
}

#[tokio::test]
async fn an_answer_is_compressed_if_the_client_can_read_it_and_it_gets_smaller() {
    let probe = Probe::start().await;
    for (accepted, expected) in [
        ("gzip", Some("gzip")),
        ("identity, deflate, gzip", Some("gzip")),
        ("gzip, zstd", Some("zstd")),
        ("deflate", None),
        ("", None),
    ] {
        let (encoding, flag, length, answer) = pad(&probe, accepted, 500_000).await;
        assert_eq!(encoding.as_deref(), expected, "{accepted}");
        assert_eq!(flag == 1, expected.is_some(), "{accepted}");
        assert_eq!(length < 5_000, expected.is_some(), "{accepted}: {length}");
        assert_eq!(answer.zeros, vec![0; 500_000]);
        // A small message is as large as without compression.
        let (_, flag, length, _) = pad(&probe, accepted, 100).await;
        assert!(flag == 0 && length < 120, "{accepted}: {length}");
    }
}

/// The limit of an answer is that of its clients, who decompress it.
#[tokio::test]
async fn an_answer_is_as_limited_as_without_compression() {
    let probe = Probe::start().await;
    let token = probe.token(&Probe::claims());
    let mut client = probe
        .client()
        .accept_compressed(CompressionEncoding::Zstd)
        .max_decoding_message_size(usize::MAX);
    let bytes = 5 * 1024 * 1024;
    let status = client
        .pad(with_token(proto::PadRequest { bytes }, &token))
        .await
        .unwrap_err();
    assert_eq!(metadata(&status, "message"), "ANSWER");
    let bytes = 4 * 1024 * 1024 - 100;
    assert!(
        client
            .pad(with_token(proto::PadRequest { bytes }, &token))
            .await
            .is_ok()
    );
}

/// Only answers that are listed for it: the size of a compressed answer tells something about its content.
#[tokio::test]
async fn other_answers_are_not_compressed() {
    let probe = Probe::start().await;
    let request = http::Request::post("https://localhost/haven.testing.v1.ProbeService/AskAsAnyone")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-accept-encoding", "gzip,zstd")
        .body(prefixed(0, 0, b""))
        .unwrap();
    let (head, body, _) = exchange(probe.channel(None), request).await;
    assert!(!head.headers.contains_key("grpc-encoding"));
    assert_eq!(body[0], 0);
    let error = Probe::compressed_for_anyone().unwrap_err().to_string();
    assert!(error.contains("haven.testing.v1.ProbeService/Wait"), "{error}");
}
