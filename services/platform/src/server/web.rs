//! Calls from browsers: gRPC-Web and CORS, for the pages of `WEB_ORIGINS`.
//!
//! It is in front of all other layers: they see an ordinary gRPC call, and apply all their limits to it. tonic-web translates,
//! and tower-http answers the questions of CORS. Without `WEB_ORIGINS` this file is not on the path of a request.
//!
//! A request with the header `origin` is a browser's. It is served if it is gRPC-Web, its origin is listed, and its RPC admits
//! anyone or users. It never has the rights of a service, with any certificate of its connection: a page must not act with a
//! certificate that is installed in the browser of its visitor. All other requests of browsers are refused by `protocol`.
//! A request cannot bring the mark for this itself: it is no header, but a value that only this file makes.
//!
//! A preflight is the question of a browser whether it may make a request. It is answered here for listed origins, without any
//! layer: it holds no place because it waits for nothing, neither a body nor a handler, and its answer is always the same few
//! headers. What limits it is its connection, with its places, its open streams and its resets. A preflight of another origin
//! is a request like any other that is not gRPC: it is logged, and refused before it takes a place.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{body::Body, extract::Request, response::Response};
use futures_util::future::{BoxFuture, Either};
use http::{
    HeaderMap, HeaderName, Method,
    header::{AUTHORIZATION, CONTENT_TYPE, ORIGIN},
};
use tonic_web::GrpcWebLayer;
use tower::{Layer, Service, ServiceExt, util::MapResponse};
use tower_http::cors::{AllowOrigin, CorsLayer, Vary};

use super::{pushback::PUSHBACK, request_log::REQUEST_ID};
use crate::{
    access::{Access, AccessTable},
    web_origins::WebOrigins,
};

/// The content types of gRPC-Web with messages of protobuf, as its clients send them. tonic-web translates exactly these.
const CONTENT_TYPES: [&str; 4] = [
    "application/grpc-web",
    "application/grpc-web+proto",
    "application/grpc-web-text",
    "application/grpc-web-text+proto",
];

/// The time for which a browser may remember the answer to a preflight: the most that Chromium does.
const PREFLIGHT_AGE: Duration = Duration::from_secs(7200);

/// The mark of a request from a browser, in its extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FromBrowser {
    /// The request was translated from gRPC-Web, and may be served.
    Served,
    /// The request must be refused.
    Refused,
}

impl FromBrowser {
    /// Returns the mark of `request`; `None` when it is not from a browser, or browsers are not served.
    pub(super) fn of(request: &Request) -> Option<Self> {
        request.extensions().get().copied()
    }
}

/// The state of the layer: the listed origins, and the RPCs that browsers may call.
#[derive(Debug)]
pub(super) struct Web {
    origins: WebOrigins,
    access: AccessTable,
    cors: CorsLayer,
}

impl Web {
    /// Creates the state; `None` when no origin is listed.
    pub(super) fn new(origins: WebOrigins, access: AccessTable) -> Option<Self> {
        if origins.is_empty() {
            return None;
        }
        let allowed: Vec<_> = origins.iter().cloned().collect();
        let cors = CorsLayer::new()
            .allow_origin(AllowOrigin::list(allowed))
            .allow_methods([Method::POST])
            .allow_headers(request_headers())
            .expose_headers(answer_headers())
            .max_age(PREFLIGHT_AGE)
            .vary(Vary::list([ORIGIN]));
        Some(Self {
            origins,
            access,
            cors,
        })
    }

    /// Returns whether the request's origin is listed; `None` when it has none.
    fn lists_origin(&self, headers: &HeaderMap) -> Option<bool> {
        let mut origins = headers.get_all(ORIGIN).iter();
        let origin = origins.next()?;
        Some(origins.next().is_none() && self.origins.contains(origin))
    }

    /// Returns whether a request of a listed origin is a call that is served.
    fn serves(&self, request: &Request) -> bool {
        request.method() == Method::POST
            && is_grpc_web(request.headers())
            && self.admits_people(request.uri().path())
    }

    /// Returns whether the RPC at `path` admits a caller who is not a service.
    fn admits_people(&self, path: &str) -> bool {
        match self.access.find(path).map(|rpc| rpc.access) {
            Some(Access::Anyone | Access::User | Access::UserOrService) => true,
            Some(Access::Service | Access::Unspecified) | None => false,
        }
    }
}

/// The headers that gRPC-Web clients send: connect-web and grpc-web send `content-type`, `x-grpc-web`, `x-user-agent` and
/// `grpc-timeout`; their callers add a token, a request id, and the context of a trace.
fn request_headers() -> [HeaderName; 7] {
    [
        CONTENT_TYPE,
        AUTHORIZATION,
        REQUEST_ID,
        HeaderName::from_static("x-grpc-web"),
        HeaderName::from_static("x-user-agent"),
        HeaderName::from_static("grpc-timeout"),
        HeaderName::from_static("traceparent"),
    ]
}

/// The headers of an answer that a page may read. A call that fails before its first message has its status there.
fn answer_headers() -> [HeaderName; 6] {
    [
        HeaderName::from_static("grpc-status"),
        HeaderName::from_static("grpc-message"),
        HeaderName::from_static("grpc-status-details-bin"),
        REQUEST_ID,
        PUSHBACK,
        HeaderName::from_static("haven-key-rotation-due-time"),
    ]
}

/// Returns whether the content is that of gRPC-Web, in exactly one of its types.
fn is_grpc_web(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    CONTENT_TYPES.iter().any(|content_type| value == content_type)
}

/// The service in front of `entry`, the first of the other layers.
#[derive(Clone)]
pub(super) struct WebEntry<E> {
    web: Arc<Web>,
    entry: E,
}

impl<E> WebEntry<E> {
    pub(super) fn new(web: Arc<Web>, entry: E) -> Self {
        Self { web, entry }
    }
}

impl<E> Service<Request> for WebEntry<E>
where
    E: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    E::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<E::Future, BoxFuture<'static, Result<Response, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.entry.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let Some(is_listed) = self.web.lists_origin(request.headers()) else {
            return Either::Left(self.entry.call(request));
        };
        let is_served = is_listed && self.web.serves(&request);
        request.extensions_mut().insert(match is_served {
            true => FromBrowser::Served,
            false => FromBrowser::Refused,
        });
        if !is_listed {
            return Either::Left(self.entry.call(request));
        }
        // With the headers of CORS, so that a page can read the reason of a refusal too.
        let answered = if is_served {
            let call = self.web.cors.layer(translated(self.entry.clone()));
            Either::Left(call.oneshot(request))
        } else {
            Either::Right(self.web.cors.layer(self.entry.clone()).oneshot(request))
        };
        Either::Right(Box::pin(answered))
    }
}

/// Returns `entry` behind the translation of gRPC-Web.
fn translated<E>(
    entry: E,
) -> impl Service<Request, Response = Response, Error = Infallible, Future: Send> + Send
where
    E: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    E::Future: Send + 'static,
{
    let entry = entry.map_request(|request: http::Request<tonic::body::Body>| request.map(Body::new));
    MapResponse::new(
        GrpcWebLayer::new().layer(entry),
        |answer: http::Response<tonic::body::Body>| answer.map(Body::new),
    )
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::access::ResponseKind;

    const CALL: &str = "/haven.test.v1.TestService/ListItems";

    fn web() -> Web {
        let origins = WebOrigins::parse("https://app.example.org,http://localhost:5173").unwrap();
        let access = AccessTable::for_tests([(CALL, ResponseKind::Message)]);
        Web::new(origins, access).unwrap()
    }

    fn headers(name: HeaderName, values: &[&str]) -> HeaderMap {
        let values = values.iter().map(|value| HeaderValue::from_str(value).unwrap());
        values.map(|value| (name.clone(), value)).collect()
    }

    #[test]
    fn without_origins_there_is_no_web() {
        assert!(Web::new(WebOrigins::default(), AccessTable::for_tests([])).is_none());
    }

    #[test]
    fn an_origin_is_exactly_one_of_the_list() {
        for (values, expected) in [
            (&[][..], None),
            (&["https://app.example.org"], Some(true)),
            (&["http://localhost:5173"], Some(true)),
            (
                &["https://app.example.org", "https://app.example.org"],
                Some(false),
            ),
            (&["https://app.example.org, https://evil.example"], Some(false)),
            (&["https://evil.example"], Some(false)),
            (&["null"], Some(false)),
            (&[""], Some(false)),
        ] {
            assert_eq!(
                web().lists_origin(&headers(ORIGIN, values)),
                expected,
                "{values:?}"
            );
        }
    }

    #[test]
    fn only_the_content_types_of_grpc_web_with_protobuf_are_translated() {
        for (values, expected) in [
            (&["application/grpc-web"][..], true),
            (&["application/grpc-web+proto"], true),
            (&["application/grpc-web-text"], true),
            (&["application/grpc-web-text+proto"], true),
            (&["application/grpc-web", "application/grpc-web"], false),
            (&["application/grpc-web, application/grpc-web"], false),
            (&["application/grpc-web+json"], false),
            (&["application/grpc-web+protofoo"], false),
            (&["application/grpc-web; charset=utf-8"], false),
            (&["application/grpc-webfoo"], false),
            (&["application/grpc"], false),
            (&["application/grpc+proto"], false),
            (&["application/json"], false),
            (&["text/plain"], false),
            (&[""], false),
            (&[], false),
        ] {
            assert_eq!(
                is_grpc_web(&headers(CONTENT_TYPE, values)),
                expected,
                "{values:?}"
            );
        }
    }

    #[test]
    fn a_call_is_a_post_of_a_known_rpc() {
        for (method, path, expected) in [
            (Method::POST, CALL, true),
            (Method::GET, CALL, false),
            (Method::OPTIONS, CALL, false),
            (Method::POST, "/haven.test.v1.TestService/Unknown", false),
            (Method::POST, "/", false),
        ] {
            let request = Request::builder()
                .method(&method)
                .uri(path)
                .header(CONTENT_TYPE, "application/grpc-web+proto")
                .body(Body::empty())
                .unwrap();
            assert_eq!(web().serves(&request), expected, "{method} {path}");
        }
    }
}
