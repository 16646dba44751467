//! SQL: each function is one transaction, in the context of its caller.
//!
//! Functions take the caller or the person first and the deadline last. The module names neither tonic nor the generated
//! messages, which a test checks. [`crate::domain`] says which decisions are made in SQL, and why.

pub mod account;
pub mod audit_chain;
pub mod audit_log;
pub mod outbox;
pub mod rate_limit;
pub mod reconciliation;
pub mod recovery;
pub mod retention;
pub mod session;
