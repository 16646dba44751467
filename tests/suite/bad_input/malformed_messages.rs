//! Bytes that are not a message of the RPC, and requests that are not gRPC.

use http::{Method, header};
use prost_reflect::{DescriptorPool, Kind, MethodDescriptor};
use tonic::Code;

use super::Served;
use crate::{
    raw_call::{self, field, headers, prefixed},
    status::{reason, violations},
};

/// Returns the service and the path of every RPC.
fn paths() -> Vec<(&'static str, String)> {
    let service = |rpc: &str| {
        if rpc.starts_with("haven.data.") {
            "data"
        } else {
            "identity"
        }
    };
    let rpcs = crate::every_rpc::rpcs().into_iter();
    rpcs.map(|rpc| (service(&rpc), format!("/{rpc}"))).collect()
}

/// Returns the paths of the RPCs that take a stream of requests.
fn streams_of_requests() -> Vec<String> {
    let pool = DescriptorPool::decode(haven_proto::FILE_DESCRIPTOR_SET).unwrap();
    let services = pool.services();
    let methods = services.flat_map(|service| service.methods().collect::<Vec<_>>());
    let streams = methods.filter(MethodDescriptor::is_client_streaming);
    let paths = streams.map(|method| format!("/{}/{}", method.parent_service().full_name(), method.name()));
    paths.collect()
}

/// Asserts that a call with `body` as its message fails with MALFORMED.
async fn is_malformed(served: &Served, service: &str, path: &str, body: Vec<u8>) {
    let connection = served.client_of(path).connection(service);
    let status = raw_call::call(connection, path, headers(&[]), body)
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "INVALID_FIELD", "{path}");
    assert_eq!(
        violations(&status),
        [(String::new(), "MALFORMED".to_owned())],
        "{path}"
    );
}

#[tokio::test]
async fn bytes_that_are_no_message_are_malformed_for_every_rpc() {
    let served = Served::shared().await;
    for (service, path) in paths() {
        // An unterminated varint; a length beyond the end; an unterminated group; groups nested too deeply; field number 0.
        for bytes in [
            vec![0xff; 12],
            vec![0x7a, 0x7f, 0x00],
            vec![0x7b],
            [vec![0x7b; 200], vec![0x7c; 200]].concat(),
            vec![0x00, 0x00],
        ] {
            is_malformed(&served, service, &path, bytes).await;
        }
    }
    served.still_serves("malformed messages").await;
}

#[tokio::test]
async fn a_string_that_is_not_utf8_is_malformed_in_every_field() {
    let served = Served::shared().await;
    let pool = DescriptorPool::decode(haven_proto::FILE_DESCRIPTOR_SET).unwrap();
    let mut tried = 0;
    for (service, path) in paths() {
        let (name, rpc) = path[1..].split_once('/').unwrap();
        let rpcs = pool.get_service_by_name(name).unwrap();
        let input = rpcs.methods().find(|found| found.name() == rpc).unwrap().input();
        for text in input.fields().filter(|field| field.kind() == Kind::String) {
            // An invalid byte, a truncated sequence, a surrogate, and NUL encoded in two bytes.
            for bytes in [
                &[0xff][..],
                &[b'a', 0xe2, 0x82],
                &[0xed, 0xa0, 0x80],
                &[0xc0, 0x80],
            ] {
                is_malformed(&served, service, &path, field(text.number(), bytes)).await;
                tried += 1;
            }
        }
    }
    assert!(tried > 40, "{tried}");
    served.still_serves("strings that are not UTF-8").await;
}

#[tokio::test]
async fn a_message_of_ten_megabytes_is_too_large_for_every_rpc() {
    let served = Served::shared().await;
    let large = field(15, &vec![b'x'; 10 * 1024 * 1024]);
    for (service, path) in paths() {
        let connection = served.client_of(&path).connection(service);
        let status = raw_call::call(connection, &path, headers(&[]), large.clone())
            .await
            .unwrap_err();
        assert_eq!(reason(&status), "MESSAGE_TOO_LARGE", "{path}");
    }
    served.still_serves("ten megabytes").await;
}

#[tokio::test]
async fn a_request_that_is_not_grpc_gets_a_grpc_status() {
    let served = Served::shared().await;
    let streams = streams_of_requests();
    for (service, path) in paths() {
        let post = || http::Request::post(format!("https://localhost{path}")).header(header::TE, "trailers");
        let grpc = || post().header(header::CONTENT_TYPE, "application/grpc");
        let empty = prefixed(0, 0, b"");
        let refused = [
            ("no message", grpc().body(Vec::new()), "INVALID_FIELD"),
            ("half a prefix", grpc().body(vec![0, 0]), "INVALID_FIELD"),
            (
                "half a message",
                grpc().body(prefixed(0, 9, b"\x7a\x01")),
                "INVALID_FIELD",
            ),
            (
                "an unknown flag",
                grpc().body(prefixed(7, 0, b"")),
                "INVALID_FIELD",
            ),
            (
                "compressed by nothing",
                grpc().body(prefixed(1, 3, b"abc")),
                "INVALID_FIELD",
            ),
            (
                "a length of 4 GiB",
                grpc().body(prefixed(0, u32::MAX as usize, b"abc")),
                "MESSAGE_TOO_LARGE",
            ),
            (
                "an unknown compression",
                grpc().header("grpc-encoding", "br").body(empty.clone()),
                "ENCODING_UNSUPPORTED",
            ),
            (
                "not compressed as the header says",
                grpc()
                    .header("grpc-encoding", "gzip")
                    .body(prefixed(1, 3, b"abc")),
                "INVALID_FIELD",
            ),
        ];
        for (what, request, expected) in refused {
            let connection = served.client_of(&path).connection(service);
            let (_, status, _) = raw_call::request(connection, request.unwrap()).await;
            if what == "no message" && streams.contains(&path) {
                let code = status.map_or(Code::Ok, |status| status.code());
                assert_eq!(code, Code::Ok, "{path}: a stream of requests may be empty");
                continue;
            }
            assert_eq!(reason(&status.expect(what)), expected, "{path}, {what}");
        }
        // tonic checks neither the method nor the content type, so a link in a browser would be a call.
        for (what, method, content_type) in [
            ("GET", Method::GET, "application/grpc"),
            ("OPTIONS", Method::OPTIONS, "application/grpc"),
            ("a web page", Method::POST, "text/html"),
            ("JSON", Method::POST, "application/json"),
            ("gRPC-Web", Method::POST, "application/grpc-web+proto"),
            ("gRPC-Web in Base64", Method::POST, "application/grpc-web-text"),
            ("gRPC with JSON", Method::POST, "application/grpc+json"),
            ("another type", Method::POST, "application/grpcfoo"),
        ] {
            let mut request = post()
                .header(header::CONTENT_TYPE, content_type)
                .body(empty.clone())
                .unwrap();
            *request.method_mut() = method;
            let (http_status, status, _) =
                raw_call::request(served.client_of(&path).connection(service), request).await;
            let status = status.unwrap_or_else(|| panic!("{path}, {what}: no status"));
            assert_eq!(reason(&status), "INVALID_FIELD", "{path}, {what}");
            assert_eq!(
                http_status,
                http::StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "{path}, {what}"
            );
        }
    }
    served.still_serves("requests that are not gRPC").await;
}
