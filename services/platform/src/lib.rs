//! The platform that Haven's services are built on: everything about a gRPC service on Postgres that is independent of
//! what the service does. No module names a noun of a service's business; only the published failure reasons
//! ([`reason`]) are those of all services.
//!
//! A service implements [`application::Application`], and its `main` calls [`run::main`]. The platform then parses the
//! command line, checks the configuration, starts the server with all safety layers, and stops it gracefully. An RPC is a
//! [`handler::Handler`], which gets a [`call::Call`] and its request, and returns a response or a [`failure::Failure`].
//!
//! | Modules | Content |
//! | --- | --- |
//! | [`application`], [`run`], [`config`], [`environment`] | the life of a service, from the command line to the stop; all settings |
//! | [`server`], [`access`], [`handler`], [`call`], [`deadline`] | the gRPC server and its layers; access rules; RPC handlers |
//! | [`auth`], [`allowed_services`], [`scopes`], [`network`], [`trusted_proxies`] | authentication of users and services; what each service may do; the client's network, and which proxies may state it |
//! | [`failure`], [`reason`], [`violations`] | the error contract: published reasons, field violations, and the size of both |
//! | [`request_key`], [`page`], [`cursor`] | idempotent requests (AIP-155); pagination (AIP-158) |
//! | [`database`] | transactions under the caller's identity, the only way to reach a row; migrations |
//! | [`hashing`], [`mac`] | argon2 in a bounded queue; keyed hashes |
//! | [`tls`], [`client`], [`telemetry`], [`metrics_page`], [`periodic`], [`task_rounds`] | certificates; clients of other services; logs, traces, metrics; background tasks |
//! | [`time`], [`entropy`] | the clock and the random generator, as parameters |
//!
//! Rules that hold in every module:
//!
//! - The time of day, random bytes and deadlines are parameters; no code asks the operating system for them directly.
//! - Logs and errors contain no private data: no contents of requests or rows, no user ids, no addresses. Secrets do not
//!   show in `Debug` output either.
//! - Modules do not import each other in a circle.

pub mod access;
pub mod allowed_services;
pub mod application;
pub mod auth;
pub mod call;
mod certificate_expiry;
mod check_database;
mod cli;
pub mod client;
pub mod config;
pub mod cursor;
pub mod database;
pub mod deadline;
mod details;
pub mod entropy;
pub mod environment;
pub mod failure;
pub mod handler;
pub mod hashing;
mod health_command;
pub mod latency;
mod log_format;
mod log_writer;
pub mod mac;
pub mod metrics_page;
pub mod network;
pub mod page;
pub mod periodic;
pub mod permits;
pub mod rate_limit;
mod readiness;
pub mod reason;
pub mod request_key;
pub mod run;
pub mod scopes;
mod secret_keys_command;
pub mod server;
pub mod task_rounds;
pub mod telemetry;
pub mod time;
pub mod tls;
mod trace_context;
pub mod trusted_proxies;
pub mod violations;
pub mod watch_key;
pub mod web_origins;
