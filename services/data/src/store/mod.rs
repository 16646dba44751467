//! SQL, and nothing but SQL: each function is one transaction as its caller. Knows the domain, and no tonic: a test
//! checks this wall.

pub mod analysis;
pub mod analysis_queue;
pub mod conversation;
pub mod crisis;
pub mod encrypted;
pub mod person;
pub mod person_status;
pub mod request;
pub mod seal;
