//! The request log: one log line per call, and its metrics.
//!
//! The line has the request id, the RPC, the outcome, the duration and the kind of the caller. It has no user id, no
//! address, and nothing from the request or the response. A successful call logs nothing else. The line is at INFO, and at
//! DEBUG for successful calls that a service makes in the background every few seconds.

use std::{
    borrow::Cow,
    collections::HashMap,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    response::Response,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Frame, SizeHint};
use opentelemetry::TraceId;
use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tracing::{Instrument, Span};
use uuid::Uuid;

use super::{
    authorization::CallerKind,
    layer::{Chain, Next},
    rpc_metrics::{RpcMetrics, name},
    status,
    web::FromBrowser,
};
use crate::{access::AccessTable, entropy::Entropy, time::Clock, trace_context};

/// The header with a request's id, in requests and responses.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The header in which gRPC clients count the earlier attempts of a call, from the second attempt on.
const PREVIOUS_ATTEMPTS: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");

/// The id of a call in the log. It is not the `request_id` of a mutation, which the client chooses.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestId(pub(super) Uuid);

impl RequestId {
    /// Returns the id in a header; `None` when it is not a UUID.
    pub(super) fn parse(value: &HeaderValue) -> Option<Self> {
        Uuid::try_parse(value.to_str().ok()?).ok().map(Self)
    }
}

/// The state of the layer: the metrics of the RPCs by path, and the sources of request ids.
#[derive(Clone)]
pub(super) struct RequestLog {
    rpcs: Arc<HashMap<String, Arc<LoggedRpc>>>,
    /// The path of an unknown RPC is text of the caller, so it gets neither a name nor a metric of its own.
    unknown: Arc<LoggedRpc>,
    clock: Clock,
    entropy: Entropy,
}

/// An RPC in the log.
struct LoggedRpc {
    metrics: RpcMetrics,
    /// Whether services call it in the background.
    is_polled: bool,
}

impl RequestLog {
    /// Creates the state for the RPCs of `access`. Services call those with a name in `polled` in the background.
    pub(super) fn new(access: &AccessTable, polled: &[&str], clock: Clock, entropy: Entropy) -> Self {
        let logged = |name: &Arc<str>| {
            Arc::new(LoggedRpc {
                metrics: RpcMetrics::new(Arc::clone(name)),
                is_polled: polled.contains(&&**name),
            })
        };
        let rpcs = access
            .iter()
            .map(|(path, rpc)| (path.to_owned(), logged(&rpc.name)));
        Self {
            rpcs: Arc::new(rpcs.collect()),
            unknown: logged(&"unknown".into()),
            clock,
            entropy,
        }
    }

    /// Returns the caller's id for the request if it is a UUID, which can contain nothing private; otherwise a new one.
    fn request_id(&self, headers: &HeaderMap) -> Uuid {
        headers
            .get(REQUEST_ID)
            .and_then(RequestId::parse)
            .map(|id| id.0)
            .unwrap_or_else(|| self.entropy.uuid_v7(&self.clock))
    }
}

/// The layer: assigns the request id, opens the span, and records the outcome.
pub(super) async fn log_request<C: Chain>(
    log: Arc<RequestLog>,
    mut request: Request,
    next: Next<C>,
) -> Response {
    let id = log.request_id(request.headers());
    request.extensions_mut().insert(RequestId(id));
    let rpc = Arc::clone(log.rpcs.get(request.uri().path()).unwrap_or(&log.unknown));
    let name = rpc.metrics.name();
    // An error span is enabled at every log level, so that all lines of a call have its id.
    let span =
        tracing::error_span!("call", rpc = name, request_id = %id, otel.name = name, otel.kind = "server");
    let trace_id = trace_context::begin(&span, request.headers(), id);
    if request.headers().contains_key(&PREVIOUS_ATTEMPTS) {
        rpc.metrics.retried();
    }
    rpc.metrics.begun();
    let mut call = CallRecord {
        rpc,
        trace_id,
        began: Instant::now(),
        span: span.clone(),
        caller: CallerKind::default(),
        protocol: (FromBrowser::of(&request) == Some(FromBrowser::Served)).then_some("grpc-web"),
        // The outcome when the caller does not wait for the end.
        outcome: Outcome {
            code: Code::Cancelled,
            reason: Cow::Borrowed("CANCELLED"),
        },
    };
    let mut response = next.run(request).instrument(span).await;
    if let Ok(value) = HeaderValue::from_str(id.hyphenated().encode_lower(&mut Uuid::encode_buffer())) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    if let Some(caller) = response.extensions_mut().remove::<CallerKind>() {
        call.caller = caller;
    }
    call.ended_with(response.headers());
    response.map(|body| Body::new(RecordedBody { body, call }))
}

/// The properties of a call for its log line, which is written on drop.
struct CallRecord {
    rpc: Arc<LoggedRpc>,
    trace_id: TraceId,
    began: Instant,
    span: Span,
    caller: CallerKind,
    /// How the call came, if not in gRPC itself.
    protocol: Option<&'static str>,
    outcome: Outcome,
}

/// The gRPC code and published reason with which a call ended. The reason is empty on success.
struct Outcome {
    code: Code,
    reason: Cow<'static, str>,
}

impl CallRecord {
    /// Notes the outcome if it is in these headers or trailers.
    fn ended_with(&mut self, headers: &HeaderMap) {
        self.outcome = match status::of(headers) {
            None => return,
            Some(Ok(())) => Outcome {
                code: Code::Ok,
                reason: Cow::Borrowed(""),
            },
            Some(Err(status)) => Outcome::of(&status),
        };
    }
}

impl Outcome {
    fn of(status: &Status) -> Self {
        let reason = status
            .get_details_error_info()
            .map(|info| info.reason)
            .unwrap_or_default();
        Self {
            code: status.code(),
            reason: Cow::Owned(reason),
        }
    }
}

/// Writes the log line when the body is dropped, because the call is over then: answered, failed, or cancelled.
impl Drop for CallRecord {
    fn drop(&mut self) {
        let seconds = self.began.elapsed().as_secs_f64();
        let Outcome { code, reason } = &self.outcome;
        self.rpc.metrics.ended(*code, reason, seconds);
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
                    code = name(*code),
                    reason = &**reason,
                    duration_ms = millis,
                    caller,
                    service,
                    protocol = self.protocol,
                    trace_id = %self.trace_id,
                    "call"
                )
            };
        }
        if self.rpc.is_polled && *code == Code::Ok && service.is_some() {
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
            && let Some(trailers) = frame.trailers_ref()
        {
            this.call.ended_with(trailers);
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
