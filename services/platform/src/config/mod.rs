//! Configuration: environment variables, each with a command-line flag of the same name.
//!
//! Everything is read and checked before a socket opens, and all that is missing or wrong is reported at once. One
//! file per concern.

mod listeners;
mod postgres;
mod problems;
mod requests;
mod secret_format;
mod telemetry;
mod tls;
mod tokens;
mod trusted_issuers;
mod worker;

pub use self::{
    listeners::{ListenerArgs, Listeners},
    postgres::PostgresArgs,
    problems::{ConfigError, ConfigProblems},
    requests::{RequestArgs, Requests},
    secret_format::{keyed_secrets, secret_key},
    telemetry::{LogFormat, Telemetry, TelemetryArgs},
    tls::TlsArgs,
    tokens::{TokenArgs, Tokens},
    worker::WorkerArgs,
};
pub use crate::{environment::Environment, tls::TlsFiles};

/// How people prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum AuthMode {
    /// By an access token.
    Token,
    /// By the header `x-user-id`, which anybody can send: for local work, and only while every listener is on loopback.
    Local,
}
