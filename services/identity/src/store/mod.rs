//! SQL, and nothing but SQL: each function is one transaction as its caller. Knows the domain, and no tonic: a test
//! checks this wall.

pub mod account;
pub mod outbox;
pub mod request;
pub mod session;
