//! SQL, and nothing but SQL: each function is one transaction as its caller. Knows the domain, and no tonic: a test
//! checks this wall.

pub mod account;
pub mod account_list;
pub mod account_update;
pub mod audit;
pub mod audit_chain;
pub mod consent;
pub mod consent_list;
pub mod erasure;
pub mod limit;
pub mod outbox;
pub mod password;
pub mod password_change;
pub mod profile;
pub mod refresh;
pub mod request;
pub mod retention;
pub mod session;
pub mod sign_in;
