//! The trace that a call belongs to (W3C Trace Context): taken from a request, passed on with the calls that are made for it,
//! and logged.
//!
//! With a collector of traces, `tracing-opentelemetry` records each span, and its data has the context. Without one nothing
//! is recorded: the context is kept beside the span, and costs a call almost nothing.

use http::{HeaderMap, HeaderName};
use opentelemetry::{
    Context, SpanId, TraceFlags, TraceId,
    propagation::{Extractor, TextMapPropagator},
    trace::{SpanContext, TraceContextExt, TraceState},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::{Dispatch, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{Registry, registry::LookupSpan};
use uuid::Uuid;

/// The header with the trace and the span of the caller.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The context of a span that is not recorded.
struct Unrecorded(SpanContext);

/// Puts `span` into the trace that the headers of its request name, or into one of its own. Returns the id of the trace.
///
/// Without a collector the trace of a request that names none has the digits of its request id.
pub(crate) fn begin(span: &Span, headers: &HeaderMap, request_id: Uuid) -> TraceId {
    let parent = match headers.contains_key(TRACEPARENT) {
        true => TraceContextPropagator::new().extract(&IncomingHeaders(headers)),
        false => Context::default(),
    };
    let named = parent.span().span_context().clone();
    // It is an error when there is no collector.
    if span.set_parent(parent).is_ok() {
        return span.context().span().span_context().trace_id();
    }
    let context = match named.is_valid() {
        true => named,
        false => of_request(request_id),
    };
    let trace = context.trace_id();
    in_registry(span, |registry, id| {
        if let Some(span) = registry.span(id) {
            span.extensions_mut().insert(Unrecorded(context));
        }
    });
    trace
}

/// Returns the context that calls of the current span are made in.
pub(crate) fn current() -> Context {
    let span = Span::current();
    let recorded = span.context();
    if recorded.span().span_context().is_valid() {
        return recorded;
    }
    let mut found = None;
    in_registry(&span, |registry, id| {
        let spans = registry.span(id).into_iter().flat_map(|span| span.scope());
        found = spans
            .filter_map(|span| {
                span.extensions()
                    .get::<Unrecorded>()
                    .map(|context| context.0.clone())
            })
            .next();
    });
    found.map_or_else(Context::new, |context| {
        Context::new().with_remote_span_context(context)
    })
}

fn of_request(request_id: Uuid) -> SpanContext {
    let (trace, (_, span)) = (request_id.as_u128(), request_id.as_u64_pair());
    let (trace, span) = (
        TraceId::from_bytes(trace.to_be_bytes()),
        SpanId::from_bytes(span.to_be_bytes()),
    );
    SpanContext::new(trace, span, TraceFlags::default(), true, TraceState::NONE)
}

fn in_registry(span: &Span, with: impl FnOnce(&Registry, &tracing::Id)) {
    span.with_subscriber(|(id, dispatch): (&tracing::Id, &Dispatch)| {
        if let Some(registry) = dispatch.downcast_ref::<Registry>() {
            with(registry, id);
        }
    });
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
