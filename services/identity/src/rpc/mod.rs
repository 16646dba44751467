//! The gRPC services, each in a folder of its own, with one file per RPC.
//!
//! An RPC parses its request into types of [`crate::domain`] before anything else, calls the store, and converts the
//! result.

mod account;
mod audit_origin;
mod consent_grant;
mod email;
mod hashing_error;
mod rate_limit_keys;
pub mod recovery;
mod session;

pub use self::{
    account::AccountRpc, audit_origin::AuditOrigins, rate_limit_keys::RateLimitKeys, recovery::RecoveryRpc,
    session::SessionRpc,
};
