//! What both of Haven's services stand on. It knows no business noun.
//!
//! - [`application`] and [`run`]: a service's interface to the platform, and its life from the command line to the graceful
//!   stop
//! - [`server`]: the API server with every layer that a request passes; [`access`]: who may call which RPC;
//!   [`handler`]: one RPC's implementation
//! - [`auth`], [`call`], [`network`]: callers; [`failure`], [`reason`], [`violations`]: the error contract
//! - [`database`]: the tenant transaction, the only way to reach a row
//! - [`tls`], [`client`]: connections; [`telemetry`]: logs, traces, metrics; [`config`]: every setting;
//!   [`periodic`]: background tasks
//! - [`hashing`]: argon2id for passwords and passcodes, behind a bounded queue
//! - [`request_key`]: idempotency; [`page`], [`cursor`]: pagination
//! - [`time`], [`entropy`], [`deadline`], [`mac`]: clock, randomness, deadlines, keyed hashes

pub mod access;
pub mod application;
pub mod auth;
pub mod call;
mod cli;
pub mod client;
pub mod config;
pub mod cursor;
pub mod database;
pub mod deadline;
pub mod entropy;
pub mod environment;
pub mod failure;
pub mod handler;
pub mod hashing;
pub mod mac;
pub mod network;
pub mod page;
pub mod periodic;
mod readiness;
pub mod reason;
pub mod request_key;
pub mod run;
pub mod server;
pub mod telemetry;
pub mod time;
pub mod tls;
pub mod violations;
