//! Logs and traces of the process.

use std::{
    fmt,
    io::{self, stdout},
    panic,
    time::Duration,
};

use metrics_exporter_prometheus::BuildError;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, Targets, filter_fn},
    fmt::format::JsonFields,
    layer::{Filter, Identity, SubscriberExt},
    util::SubscriberInitExt,
};

use crate::{
    config::{LogFormat, Telemetry},
    log_format::JsonLines,
    log_writer::{LogGuard, LogWriter},
};

/// Writes the remaining log lines and exports the remaining spans when it is dropped.
pub struct TelemetryGuard {
    provider: Option<SdkTracerProvider>,
    _log: LogGuard,
}

/// The reason why telemetry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The address of the trace collector cannot be used.
    #[error("OTLP_ENDPOINT: {0}")]
    Exporter(#[from] ExporterBuildError),
    /// The thread that writes the log cannot start.
    #[error("the log cannot start: {0}")]
    Log(#[from] io::Error),
    /// The address for metrics is in use, or the process has a recorder already.
    #[error("METRICS_ADDR {0}: {1}")]
    Metrics(std::net::SocketAddr, BuildError),
}

/// Starts logs and traces for the process, and logs panics without their messages.
///
/// Trace context is received and sent (W3C Trace Context) whether traces are exported or not. Without a collector no span is
/// recorded for one.
///
/// # Errors
///
/// [`TelemetryError::Exporter`] when the collector's address cannot be used; [`TelemetryError::Log`].
pub fn start(telemetry: &Telemetry, service: &'static str) -> Result<TelemetryGuard, TelemetryError> {
    let provider = telemetry.otlp_endpoint.as_ref();
    let provider = provider.map(|endpoint| exporter(endpoint, service)).transpose()?;
    let (writer, log) = LogWriter::start(stdout())?;
    let format = tracing_subscriber::fmt::layer()
        .with_target(false)
        .with_writer(writer.clone());
    let format = match telemetry.format {
        LogFormat::Json => format
            .fmt_fields(JsonFields::new())
            .event_format(JsonLines)
            .boxed(),
        LogFormat::Pretty => format.compact().boxed(),
    };
    let traces = match &provider {
        Some(provider) => tracing_opentelemetry::layer()
            .with_tracer(provider.tracer(service))
            .with_location(false)
            .boxed(),
        // A span is there for a layer that wants it. This one wants what the other would get, so that the context of a trace
        // is passed on with every LOG_FILTER.
        None => Identity::new().boxed(),
    };
    // A test may have installed another subscriber already, which then stays.
    let _ = tracing_subscriber::registry()
        .with(traces.with_filter(span_filter(service)))
        .with(format.with_filter(log_filter(&telemetry.filter)))
        .try_init();
    panic::set_hook(Box::new(move |panic| {
        log_panic(panic);
        // The process may end now.
        writer.flush();
    }));
    Ok(TelemetryGuard { provider, _log: log })
}

/// Returns a provider that exports spans to the collector at `endpoint`.
fn exporter(endpoint: &http::Uri, service: &'static str) -> Result<SdkTracerProvider, ExporterBuildError> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint.to_string())
        .with_timeout(Duration::from_secs(5))
        .build()?;
    Ok(SdkTracerProvider::builder()
        .with_resource(Resource::builder().with_service_name(service).build())
        .with_batch_exporter(exporter)
        .build())
}

/// Returns the filter for log lines: `filter`, restricted to what is safe to log.
fn log_filter<S: Subscriber>(filter: &str) -> impl Filter<S> + use<S> {
    // A filter without conditions on spans has a simpler form, which costs less on each poll of a call.
    // Empty parts have no meaning, and a part with a bracket is about a span.
    let parts: Vec<_> = filter
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect();
    let simple = match parts.iter().any(|part| part.contains(['[', '{'])) {
        true => None,
        false => parts.join(",").parse::<Targets>().ok(),
    };
    let filter: Box<dyn Filter<S> + Send + Sync> = match simple {
        Some(targets) => Box::new(targets),
        None => Box::new(EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"))),
    };
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
fn span_filter(service: &str) -> Targets {
    Targets::new().with_targets([
        ("haven_platform".to_owned(), Level::INFO),
        (format!("haven_{service}"), Level::INFO),
    ])
}

/// Logs a panic with its location only: its message can contain a person's text.
fn log_panic(panic: &panic::PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(place, "panicked");
}

impl Drop for TelemetryGuard {
    fn drop(&mut self) {
        if let Some(provider) = &self.provider {
            // The error cannot be reported: the log has ended too.
            let _ = provider.shutdown_with_timeout(Duration::from_secs(2));
        }
    }
}

impl fmt::Debug for TelemetryGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TelemetryGuard").finish_non_exhaustive()
    }
}
