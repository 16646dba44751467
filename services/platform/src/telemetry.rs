//! Logs and traces of the process.

use std::{panic, time::Duration};

use metrics_exporter_prometheus::BuildError;
use opentelemetry::{global, trace::TracerProvider as _};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracerProvider},
};
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, filter_fn},
    layer::{Filter, SubscriberExt},
    util::SubscriberInitExt,
};

use crate::config::{LogFormat, Telemetry};

/// Exports the remaining spans when it is dropped.
#[derive(Debug)]
pub struct TelemetryGuard(SdkTracerProvider);

/// The reason why telemetry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The address of the trace collector cannot be used.
    #[error("OTLP_ENDPOINT: {0}")]
    Exporter(#[from] ExporterBuildError),
    /// The address for metrics is in use, or the process has a recorder already.
    #[error("METRICS_ADDR {0}: {1}")]
    Metrics(std::net::SocketAddr, BuildError),
}

/// Starts logs and traces for the process, and logs panics without their messages.
///
/// Trace context is received and sent (W3C Trace Context) whether traces are exported or not.
///
/// # Errors
///
/// [`TelemetryError::Exporter`] when the collector's address cannot be used.
pub fn start(telemetry: &Telemetry, service: &'static str) -> Result<TelemetryGuard, TelemetryError> {
    let resource = Resource::builder().with_service_name(service).build();
    let provider = SdkTracerProvider::builder().with_resource(resource);
    let provider = match &telemetry.otlp_endpoint {
        Some(endpoint) => {
            let exporter = SpanExporter::builder()
                .with_tonic()
                .with_endpoint(endpoint.to_string())
                .with_timeout(Duration::from_secs(5))
                .build()?;
            provider.with_batch_exporter(exporter)
        }
        // Without an exporter, keep only spans that a caller traces, so that the context is passed on.
        None => provider.with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOff))),
    };
    let provider = provider.build();
    global::set_text_map_propagator(TraceContextPropagator::new());

    let format = tracing_subscriber::fmt::layer().with_target(false);
    let format = match telemetry.format {
        LogFormat::Json => format.json().flatten_event(true).with_current_span(false).boxed(),
        LogFormat::Pretty => format.compact().boxed(),
    };
    let traces = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(service))
        .with_location(false);
    // A test may have installed another subscriber already, which then stays.
    let _ = tracing_subscriber::registry()
        .with(traces.with_filter(span_filter(service)))
        .with(format.with_filter(log_filter(&telemetry.filter)))
        .try_init();
    panic::set_hook(Box::new(log_panic));
    Ok(TelemetryGuard(provider))
}

/// Returns the filter for log lines: `filter`, restricted to what is safe to log.
fn log_filter<S: Subscriber>(filter: &str) -> impl Filter<S> + use<S> {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    filter.and(filter_fn(is_safe_to_log))
}

/// Returns whether an event contains no private data. This is independent of LOG_FILTER.
///
/// Below INFO, libraries quote their input: h2 a malformed path or authority, tonic a timeout. sqlx does so at every
/// level: a Postgres notice contains what a function puts into it. Only our own crates are known to leave out private
/// data.
fn is_safe_to_log(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    target.starts_with("haven_") || (*metadata.level() <= Level::INFO && !target.starts_with("sqlx"))
}

/// Returns the filter for spans: only those of the platform and of the crate `haven_<service>`, because the spans of
/// hyper and h2 do not help a reader of traces.
fn span_filter(service: &str) -> EnvFilter {
    EnvFilter::new(format!("off,haven_platform=info,haven_{service}=info"))
}

/// Logs a panic with its location only: its message can contain a person's text.
fn log_panic(panic: &panic::PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(place, "panicked");
}

impl Drop for TelemetryGuard {
    fn drop(&mut self) {
        // The error cannot be reported: the log has ended too.
        let _ = self.0.shutdown_with_timeout(Duration::from_secs(2));
    }
}
