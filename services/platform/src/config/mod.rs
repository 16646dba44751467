//! Configuration: environment variables, each with a command-line flag of the same name.
//!
//! All values are read and checked before a socket opens, and everything that is missing or wrong is reported at once.
//! Each concern has its own file.

mod enforcement;
mod issuer_settings;
mod listeners;
mod postgres;
mod problems;
mod proxies;
mod requests;
mod secret_format;
mod secret_keys;
mod telemetry;
mod tls;
mod tokens;
mod trusted_issuers;
mod web;
mod worker;

pub(crate) use self::requests::duration;
pub use self::{
    enforcement::{Enforcement, EnforcementArgs},
    listeners::{ListenerArgs, Listeners},
    postgres::PostgresArgs,
    problems::{ConfigError, ConfigProblems},
    proxies::ProxyArgs,
    requests::{RequestArgs, Requests},
    secret_format::keyed_secrets,
    secret_keys::SecretKeysArgs,
    telemetry::{LogFormat, Telemetry, TelemetryArgs},
    tls::TlsArgs,
    tokens::{TokenArgs, Tokens},
    web::WebArgs,
    worker::WorkerArgs,
};
pub use crate::{environment::Environment, tls::TlsFiles};

/// The way users authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum AuthMode {
    /// With an access token.
    Token,
    /// With the header `x-user-id`, which every caller can set: for local work, and only while all listeners are on
    /// loopback.
    Local,
}
