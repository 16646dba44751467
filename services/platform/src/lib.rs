//! What Haven's services stand on, and no business noun.
//!
//! - [`application`] and [`run`]: what a service is, and its whole life from the command line to the graceful stop
//! - [`server`]: the API with every layer that a request passes; [`access`]: who may call what
//! - [`auth`], [`call`], [`network`]: callers; [`failure`], [`reason`], [`fields`]: the error contract
//! - [`database`]: the tenant transaction, which is the only door to a row
//! - [`tls`], [`client`]: connections; [`telemetry`]: logs, traces, metrics; [`config`]: every setting; [`rounds`]: work
//!   that goes on in the background
//! - [`hashing`]: of secrets that people choose, in turn
//! - [`time`], [`entropy`], [`deadline`], [`mac`], [`page`]: small things that must be done in one way

pub mod access;
pub mod application;
pub mod auth;
pub mod call;
mod cli;
pub mod client;
pub mod config;
pub mod database;
pub mod deadline;
pub mod entropy;
pub mod failure;
pub mod fields;
pub mod hashing;
pub mod mac;
pub mod network;
pub mod page;
mod readiness;
pub mod reason;
pub mod rounds;
pub mod run;
pub mod server;
pub mod telemetry;
pub mod time;
pub mod tls;
