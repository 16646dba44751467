//! What operators see.

use clap::Args;

use super::ConfigProblems;

/// The flags.
#[derive(Args, Clone, Debug)]
pub struct TelemetryArgs {
    /// How log lines look
    #[arg(long, env = "LOG_FORMAT", value_name = "json|pretty", default_value = "json")]
    pub log_format: String,
    /// Which log lines there are: a level, or directives such as `info,haven_platform=debug`. Below `info`, libraries are
    /// never heard: they quote what passes through them
    #[arg(long, env = "LOG_FILTER", value_name = "FILTER", default_value = "info")]
    pub log_filter: String,
    /// Where traces go: the gRPC endpoint of an OpenTelemetry collector [default: nowhere]
    #[arg(
        long,
        env = "OTLP_ENDPOINT",
        value_name = "URL",
        default_value = "",
        hide_default_value = true
    )]
    pub otlp_endpoint: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For machines.
    Json,
    /// For people.
    Pretty,
}

/// What operators see.
#[derive(Clone, Debug)]
pub struct Telemetry {
    /// How log lines look.
    pub format: LogFormat,
    /// Which there are.
    pub filter: String,
    /// Where traces go.
    pub otlp_endpoint: Option<http::Uri>,
}

impl TelemetryArgs {
    /// Checks the flags.
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
