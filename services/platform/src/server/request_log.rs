//! The outermost layer: what is known of a call afterwards.
//!
//! One canonical line per call, and nothing else when all is well. It holds the request id, the RPC, the outcome, the
//! time it took and what kind of caller it was; no id of a person, no address, and nothing out of a request or an answer.

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

/// The header that carries a request's id, in and out.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id under which a call is found in the log. Not the `request_id` of a mutation, which is the client's.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestId(pub(super) Uuid);

#[derive(Clone)]
pub(super) struct RequestLog {
    access: AccessTable,
    clock: Clock,
    entropy: Entropy,
}

impl RequestLog {
    pub(super) fn new(access: AccessTable, clock: Clock, entropy: Entropy) -> Self {
        Self {
            access,
            clock,
            entropy,
        }
    }

    /// The caller's own id for the request if it is a UUID, so that it can hold nothing else; otherwise a new one.
    fn request_id(&self, headers: &HeaderMap) -> Uuid {
        headers
            .get(REQUEST_ID)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| Uuid::try_parse(value).ok())
            .unwrap_or_else(|| self.entropy.uuid_v7(&self.clock))
    }
}

pub(super) async fn log_request(State(log): State<RequestLog>, mut request: Request, next: Next) -> Response {
    let id = log.request_id(request.headers());
    request.extensions_mut().insert(RequestId(id));
    // A path that is no RPC is the caller's text: it gets no name, and no metric of its own.
    let rpc = log
        .access
        .find(request.uri().path())
        .map_or_else(|| "unknown".into(), |rpc| Arc::clone(&rpc.name));

    let parent = opentelemetry::global::get_text_map_propagator(|propagator| {
        propagator.extract(&IncomingHeaders(request.headers()))
    });
    let trace_id = parent.span().span_context().trace_id();
    // Of the highest level, so that whatever is logged of the call stands under its id, however little that is.
    let span =
        tracing::error_span!("call", rpc = &*rpc, request_id = %id, otel.name = &*rpc, otel.kind = "server");
    // The span is disabled where the filter drops it; then there is no trace to belong to.
    let _ = span.set_parent(parent);
    let trace_id = match span.context().span().span_context() {
        ours if ours.is_valid() => ours.trace_id(),
        _ => trace_id,
    };

    metrics::gauge!("haven_rpc_in_flight").increment(1);
    let mut call = CallRecord {
        rpc,
        trace_id: trace_id.to_string(),
        began: Instant::now(),
        span: span.clone(),
        caller: CallerKind::default(),
        // What it is if nobody waits for the end.
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

struct CallRecord {
    rpc: Arc<str>,
    trace_id: String,
    began: Instant,
    span: Span,
    caller: CallerKind,
    outcome: Outcome,
}

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

/// When the body is dropped, the call is over: answered, failed, or abandoned by its caller.
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
        tracing::info!(
            code,
            reason,
            duration_ms = millis,
            caller,
            service,
            trace_id = self.trace_id,
            "call"
        );
    }
}

pin_project_lite::pin_project! {
    /// Sees how a call ends.
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
