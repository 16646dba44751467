//! The page of metrics, which Prometheus scrapes, and the descriptions of the platform's own metrics on it.
//!
//! A metric of a service is described where it is measured. Counters that alerts watch start at zero: `increase` does not
//! see an event that creates its series.

use std::net::SocketAddr;

use metrics::Unit;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};

use crate::telemetry::TelemetryError;

/// The histogram buckets' upper bounds in seconds, from a cached read to the longest useful deadline.
const SECONDS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// The gauges of the platform, with their units and meanings.
const GAUGES: [(&str, Unit, &str); 6] = [
    (
        "haven_ready",
        Unit::Count,
        "1 while the service reports to probes that it can serve, and 0 otherwise",
    ),
    (
        "haven_rpc_in_flight",
        Unit::Count,
        "Calls that have begun and not ended",
    ),
    ("haven_connections", Unit::Count, "Open connections of clients"),
    (
        "haven_db_connections",
        Unit::Count,
        "Connections by pool and state: idle, used; waited_for are calls that wait for one",
    ),
    (
        "haven_db_connections_max",
        Unit::Count,
        "The maximum size of a pool",
    ),
    (
        "haven_certificate_expiry_timestamp_seconds",
        Unit::Seconds,
        "The time at which the first certificate of a file expires, in Unix time: service is the service's own chain, \
         authority the trusted authorities",
    ),
];

/// The counters of the platform, with their meanings.
const COUNTERS: [(&str, &str); 11] = [
    (
        "haven_rpc_total",
        "Calls that ended, by RPC, gRPC code and reason",
    ),
    (
        "haven_rpc_retries_total",
        "Calls that their client marked as a retry, by RPC (the header grpc-previous-rpc-attempts)",
    ),
    (
        "haven_rpc_shed_total",
        "Calls that were refused with OVERLOADED, by the part of the places and the cause: full, or the kind of holder that \
         has its share",
    ),
    (
        "haven_answers_unread_total",
        "Answers that were dropped because their client did not read them",
    ),
    (
        "haven_connections_refused_total",
        "Connections that were closed before their first call, by cause: handshakes, full, share",
    ),
    (
        "haven_connections_closed_total",
        "Connections that were closed because of their client, by cause: no_preface, unread, resets, headers",
    ),
    (
        "haven_db_commits_unconfirmed_total",
        "Commits that were not confirmed in time, and were answered as unknown",
    ),
    ("haven_panics_total", "Handlers that panicked"),
    (
        "haven_forwarded_address_unusable_total",
        "Calls of a service with the scope forward for a client whose address it did not state, by reason: missing, \
         malformed",
    ),
    (
        "haven_tls_handshakes_failed_total",
        "TLS handshakes that clients did not complete",
    ),
    (
        "haven_task_rounds_total",
        "Rounds of background tasks by task and outcome: ok, failed",
    ),
];

/// The counters without labels, which start at zero.
const FROM_ZERO: [&str; 4] = [
    "haven_db_commits_unconfirmed_total",
    "haven_answers_unread_total",
    "haven_panics_total",
    "haven_tls_handshakes_failed_total",
];

/// Serves the metrics of the process at `addr` over HTTP, in the text format of Prometheus.
///
/// # Errors
///
/// [`TelemetryError::Metrics`] when the address is in use.
pub fn serve(addr: SocketAddr) -> Result<(), TelemetryError> {
    let failed = |error| TelemetryError::Metrics(addr, error);
    PrometheusBuilder::new()
        .with_http_listener(addr)
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
        .map_err(failed)?
        .install()
        .map_err(failed)?;
    describe();
    Ok(())
}

fn describe() {
    for (name, unit, meaning) in GAUGES {
        metrics::describe_gauge!(name, unit, meaning);
    }
    for (name, meaning) in COUNTERS {
        metrics::describe_counter!(name, Unit::Count, meaning);
    }
    metrics::describe_histogram!("haven_rpc_seconds", Unit::Seconds, "Duration of calls by RPC");
    metrics::describe_histogram!(
        "haven_db_transaction_seconds",
        Unit::Seconds,
        "Duration of committed transactions by name, from the wait for a connection to the commit"
    );
    for name in FROM_ZERO {
        metrics::counter!(name).absolute(0);
    }
    for reason in ["missing", "malformed"] {
        metrics::counter!("haven_forwarded_address_unusable_total", "reason" => reason).absolute(0);
    }
}
