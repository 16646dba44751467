//! The settings of logs and traces.

use clap::Args;

use super::ConfigProblems;

/// The flags of logs and traces.
#[derive(Args, Clone, Debug)]
pub struct TelemetryArgs {
    /// The format of log lines
    #[arg(long, env = "LOG_FORMAT", value_name = "json|pretty", default_value = "json")]
    pub log_format: String,
    /// The filter of log lines: a level, or directives such as `info,haven_platform=debug`. Libraries never log below
    /// `info`, because they would quote private data
    #[arg(long, env = "LOG_FILTER", value_name = "FILTER", default_value = "info")]
    pub log_filter: String,
    /// The gRPC endpoint of an OpenTelemetry collector for traces [default: none]
    #[arg(
        long,
        env = "OTLP_ENDPOINT",
        value_name = "URL",
        default_value = "",
        hide_default_value = true
    )]
    pub otlp_endpoint: String,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// JSON objects, for machines.
    Json,
    /// Compact text, for people.
    Pretty,
}

/// The settings of logs and traces.
#[derive(Clone, Debug)]
pub struct Telemetry {
    /// The format of log lines.
    pub format: LogFormat,
    /// The filter of log lines, as in `tracing_subscriber::EnvFilter`.
    pub filter: String,
    /// The gRPC endpoint of the trace collector; `None` to export no traces.
    pub otlp_endpoint: Option<http::Uri>,
}

impl TelemetryArgs {
    /// Checks the flags, and adds what is wrong to `problems`.
    pub fn check(&self, problems: &mut ConfigProblems) -> Option<Telemetry> {
        if let Err(error) = self.log_filter.parse::<tracing_subscriber::EnvFilter>() {
            problems.add("LOG_FILTER", error);
        }
        let format = problems.one_of("LOG_FORMAT", &self.log_format);
        let otlp_endpoint = match self.otlp_endpoint.as_str() {
            "" => None,
            url => Some(problems.parse("OTLP_ENDPOINT", url)?),
        };
        Some(Telemetry {
            format: format?,
            filter: self.log_filter.clone(),
            otlp_endpoint,
        })
    }
}
