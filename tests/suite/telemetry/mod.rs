//! Telemetry: metrics, one log line for each call, and traces across both services.

mod collector;
mod log_lines;
mod metrics_page;
mod panics;
mod request_log;
mod traces;
