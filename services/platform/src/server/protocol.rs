//! The protocol: what a request must be before it is a call. tonic looks at neither the method nor the content type, and would
//! execute a request of gRPC-Web that was not translated, whose client cannot read the answer, and one over HTTP/1.1, which has
//! no trailers there.

use axum::{extract::Request, response::Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header::CONTENT_TYPE};
use tonic::Status;

use super::web::FromBrowser;
use crate::{
    failure::{Failure, Violation},
    reason::Reason,
};

/// The maximum size of the headers of a request, in bytes. Each header counts with its name, its value and 32 bytes (RFC 9113,
/// section 10.5.1).
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// The size of headers up to which a request gets an answer with a reason, in bytes. HTTP/2 tells it to the client, and answers
/// 431 to larger ones.
pub(super) const MAX_READ_HEADER_BYTES: u32 = 64 * 1024;

/// The header that names how the messages of a request are compressed.
const ENCODING: &str = "grpc-encoding";

/// The header with the compressions that the sender can read.
pub(super) const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// What a request must be, and what one of a browser must be.
const NOT_GRPC: &str = "The request must be gRPC over HTTP/2: a POST with the content type application/grpc or \
                        application/grpc+proto. gRPC-Web and JSON are not served";
const REFUSED_BROWSER: &str = "A request of a browser must be gRPC-Web: a POST with the content type application/grpc-web, \
                               application/grpc-web+proto, application/grpc-web-text or application/grpc-web-text+proto, from an \
                               origin in WEB_ORIGINS, and of an RPC that admits users or anyone";

/// The compressions that this server can read.
const READABLE: [&str; 3] = ["identity", "gzip", "zstd"];

/// Checks that `request` is gRPC over HTTP/2, or was translated from gRPC-Web, in headers and a compression that the server
/// takes. Otherwise returns the answer.
pub(super) fn check(request: &Request) -> Result<(), Box<Response>> {
    let is_carried = match FromBrowser::of(request) {
        Some(FromBrowser::Served) => true,
        Some(FromBrowser::Refused) => return Err(Box::new(not_grpc(REFUSED_BROWSER))),
        None => request.version() == Version::HTTP_2,
    };
    if !is_carried || request.method() != Method::POST || !has_grpc_content(request.headers()) {
        return Err(Box::new(not_grpc(NOT_GRPC)));
    }
    let size = header_bytes(request);
    if size > MAX_HEADER_BYTES {
        let failure = Failure::new(Reason::MessageTooLarge)
            .metadata("message", "REQUEST_HEADERS")
            .metadata("limit_bytes", MAX_HEADER_BYTES.to_string())
            .metadata("bytes", size.to_string());
        return Err(Box::new(Status::from(failure).into_http()));
    }
    match request.headers().get(ENCODING) {
        Some(encoding) if !READABLE.iter().any(|readable| encoding == readable) => {
            Err(Box::new(unknown_encoding()))
        }
        _ => Ok(()),
    }
}

/// Returns whether the content is that of gRPC, with messages of protobuf: `application/grpc` or `application/grpc+proto`, with
/// or without parameters (gRPC over HTTP/2, "Requests").
fn has_grpc_content(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let Ok(value) = value.to_str() else {
        return false;
    };
    let media_type = value.split_once(';').map_or(value, |(media_type, _)| media_type);
    ["application/grpc", "application/grpc+proto"]
        .iter()
        .any(|grpc| media_type.trim_end().eq_ignore_ascii_case(grpc))
}

/// Returns the size of the headers as HTTP/2 counts it.
fn header_bytes(request: &Request) -> usize {
    let fields = request.headers().iter();
    let fields = fields.map(|(name, value)| name.as_str().len() + value.len() + 32);
    let uri = request.uri();
    let authority = uri.authority().map_or(0, |authority| authority.as_str().len());
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    let pseudo = [
        (":method", request.method().as_str().len()),
        (":scheme", uri.scheme_str().map_or(0, str::len)),
        (":authority", authority),
        (":path", path),
    ];
    let pseudo = pseudo.into_iter().map(|(name, length)| name.len() + length + 32);
    fields.chain(pseudo).sum()
}

fn not_grpc(description: &'static str) -> Response {
    let violation = Violation::new("", "NOT_GRPC", description);
    let failure = Failure::violations(Reason::InvalidField, vec![violation]);
    let mut response = Status::from(failure).into_http();
    *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    response
}

fn unknown_encoding() -> Response {
    let accepted = READABLE.join(",");
    let failure = Failure::new(Reason::EncodingUnsupported).metadata("accepted", accepted.as_str());
    let mut response = Status::from(failure).into_http();
    if let Ok(accepted) = HeaderValue::from_str(&accepted) {
        response.headers_mut().insert(ACCEPT_ENCODING, accepted);
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn only_the_content_types_of_grpc_with_protobuf_are_calls() {
        for (value, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/GRPC", true),
            ("application/grpc;charset=utf-8", true),
            ("application/grpc+proto ; charset=utf-8", true),
            ("application/grpcfoo", false),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/grpc-web-text", false),
            ("application/grpc+json", false),
            ("application/grpc+protofoo", false),
            ("application/grpc+", false),
            ("application/grpc, application/grpc", false),
            ("application/json", false),
            ("application/proto", false),
            (" application/grpc", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, value.parse().unwrap());
            assert_eq!(has_grpc_content(&headers), expected, "{value:?}");
            headers.append(CONTENT_TYPE, "application/grpc".parse().unwrap());
            assert!(!has_grpc_content(&headers), "two content types");
        }
        assert!(!has_grpc_content(&HeaderMap::new()));
    }

    #[test]
    fn headers_are_counted_as_http2_counts_them() {
        let request = Request::post("https://localhost/a/b")
            .header("x-a", "12345")
            .body(Body::empty())
            .unwrap();
        let names = ":method".len() + ":scheme".len() + ":authority".len() + ":path".len() + "x-a".len();
        let values = "POST".len() + "https".len() + "localhost".len() + "/a/b".len() + "12345".len();
        assert_eq!(header_bytes(&request), names + values + 5 * 32);
    }
}
