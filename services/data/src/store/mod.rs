//! SQL. Each function runs one transaction with the caller's database context, and converts between rows and domain
//! types.
//!
//! Folders correspond to gRPC services, files to RPCs. Functions take the caller first and the deadline last. Nothing
//! here names tonic: an architecture test checks it.

pub mod analysis;
pub mod analysis_queue;
pub mod conversation;
pub mod crisis;
pub mod encrypted;
pub mod person;
pub mod person_status;
pub mod request;
pub mod retention;
pub mod seal;
