//! SQL, and nothing but SQL: each function is one transaction as its caller. Knows the domain, and no tonic: a test
//! checks this wall.

pub mod account;
pub mod audit_chain;
pub mod audit_log;
pub mod outbox;
pub mod rate_limit;
pub mod request;
pub mod retention;
pub mod session;
