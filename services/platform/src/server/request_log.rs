//! The request log: one log line per call, and its metrics.
//!
//! The line has the request id, the RPC, the outcome, the duration and the kind of the caller. It has no user id, no
//! address, and nothing from the request or the response. A successful call logs nothing else. The line is at INFO, and at
//! DEBUG for successful calls that a service makes in the background every few seconds.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Frame, SizeHint};
use opentelemetry::{propagation::Extractor, trace::TraceContextExt};
use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tracing::{Instrument, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use uuid::Uuid;

use super::authorization::CallerKind;
use crate::{access::AccessTable, entropy::Entropy, time::Clock};

/// The header with a request's id, in requests and responses.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The header in which gRPC clients count the earlier attempts of a call, from the second attempt on.
const PREVIOUS_ATTEMPTS: &str = "grpc-previous-rpc-attempts";

/// The id of a call in the log. It is not the `request_id` of a mutation, which the client chooses.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestId(pub(super) Uuid);

/// The state of the layer: the names of the RPCs, those that services call in the background, and the sources of request
/// ids.
#[derive(Clone)]
pub(super) struct RequestLog {
    access: AccessTable,
    polled: &'static [&'static str],
    clock: Clock,
    entropy: Entropy,
}

impl RequestLog {
    pub(super) fn new(
        access: AccessTable,
        polled: &'static [&'static str],
        clock: Clock,
        entropy: Entropy,
    ) -> Self {
        Self {
            access,
            polled,
            clock,
            entropy,
        }
    }

    /// Returns the caller's id for the request if it is a UUID, which can contain nothing private; otherwise a new one.
    fn request_id(&self, headers: &HeaderMap) -> Uuid {
        headers
            .get(REQUEST_ID)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| Uuid::try_parse(value).ok())
            .unwrap_or_else(|| self.entropy.uuid_v7(&self.clock))
    }
}

/// The layer: assigns the request id, opens the span, and records the outcome.
pub(super) async fn log_request(State(log): State<RequestLog>, mut request: Request, next: Next) -> Response {
    let id = log.request_id(request.headers());
    request.extensions_mut().insert(RequestId(id));
    // The path of an unknown RPC is text of the caller, so it gets neither a name nor a metric of its own.
    let rpc = log
        .access
        .find(request.uri().path())
        .map_or_else(|| "unknown".into(), |rpc| Arc::clone(&rpc.name));

    let parent = opentelemetry::global::get_text_map_propagator(|propagator| {
        propagator.extract(&IncomingHeaders(request.headers()))
    });
    let trace_id = parent.span().span_context().trace_id();
    // An error span is enabled at every log level, so that all lines of a call have its id.
    let span =
        tracing::error_span!("call", rpc = &*rpc, request_id = %id, otel.name = &*rpc, otel.kind = "server");
    // The span is disabled when the filter drops it; then there is no trace to belong to.
    let _ = span.set_parent(parent);
    let trace_id = match span.context().span().span_context() {
        ours if ours.is_valid() => ours.trace_id(),
        _ => trace_id,
    };

    metrics::gauge!("haven_rpc_in_flight").increment(1);
    if request.headers().contains_key(PREVIOUS_ATTEMPTS) {
        metrics::counter!("haven_rpc_retries_total", "rpc" => Arc::clone(&rpc)).increment(1);
    }
    let mut call = CallRecord {
        is_polled: log.polled.contains(&&*rpc),
        rpc,
        trace_id: trace_id.to_string(),
        began: Instant::now(),
        span: span.clone(),
        caller: CallerKind::default(),
        // The outcome when the caller does not wait for the end.
        outcome: Outcome {
            code: Code::Cancelled,
            reason: "CANCELLED".to_owned(),
        },
    };
    let mut response = next.run(request).instrument(span).await;
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    call.caller = response
        .extensions()
        .get::<CallerKind>()
        .cloned()
        .unwrap_or_default();
    if let Some(status) = Status::from_header_map(response.headers()) {
        call.outcome = Outcome::of(&status);
    }
    response.map(|body| Body::new(RecordedBody { body, call }))
}

/// The properties of a call for its log line, which is written on drop.
struct CallRecord {
    rpc: Arc<str>,
    is_polled: bool,
    trace_id: String,
    began: Instant,
    span: Span,
    caller: CallerKind,
    outcome: Outcome,
}

/// The gRPC code and published reason with which a call ended. The reason is empty on success.
struct Outcome {
    code: Code,
    reason: String,
}

impl Outcome {
    fn of(status: &Status) -> Self {
        let reason = status
            .get_details_error_info()
            .map(|info| info.reason)
            .unwrap_or_default();
        Self {
            code: status.code(),
            reason,
        }
    }
}

/// Writes the log line when the body is dropped, because the call is over then: answered, failed, or cancelled.
impl Drop for CallRecord {
    fn drop(&mut self) {
        let seconds = self.began.elapsed().as_secs_f64();
        let Outcome { code, reason } = &self.outcome;
        let code = format!("{code:?}");
        metrics::gauge!("haven_rpc_in_flight").decrement(1);
        metrics::counter!("haven_rpc_total", "rpc" => Arc::clone(&self.rpc), "code" => code.clone(), "reason" => reason.clone())
            .increment(1);
        metrics::histogram!("haven_rpc_seconds", "rpc" => Arc::clone(&self.rpc)).record(seconds);
        let _entered = self.span.enter();
        let millis = (seconds * 1e6).round() / 1e3;
        let (caller, service) = (
            self.caller.kind,
            self.caller.service.as_ref().map(|name| name.as_str()),
        );
        // The level of an event is constant, so each has an event of its own.
        macro_rules! log {
            ($level:ident) => {
                tracing::$level!(
                    code,
                    reason,
                    duration_ms = millis,
                    caller,
                    service,
                    trace_id = self.trace_id,
                    "call"
                )
            };
        }
        if self.is_polled && self.outcome.code == Code::Ok && service.is_some() {
            log!(debug);
        } else {
            log!(info);
        }
    }
}

pin_project_lite::pin_project! {
    /// A body that records the status in the trailers.
    struct RecordedBody {
        #[pin]
        body: Body,
        call: CallRecord,
    }
}

impl http_body::Body for RecordedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(status) = frame.trailers_ref().and_then(Status::from_header_map)
        {
            this.call.outcome = Outcome::of(&status);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

struct IncomingHeaders<'a>(&'a HeaderMap);

impl Extractor for IncomingHeaders<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}
