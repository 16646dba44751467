//! SQL, and nothing but SQL: each function is one transaction as its caller. Knows the domain, and no tonic: a test
//! checks this wall.

pub mod analysis;
pub mod analysis_request;
pub mod append;
pub mod audit;
pub mod conversation;
pub mod crisis;
pub mod dead_jobs;
pub mod encrypted;
pub mod export;
pub mod finding;
pub mod job_end;
pub mod job_failure;
pub mod lease;
pub mod listing;
pub mod message_change;
pub mod person;
pub mod person_status;
pub mod queue;
pub mod request;
pub mod seal;
