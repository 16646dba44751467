//! The domain: types that a request is parsed into, and the rules that hold for them.
//!
//! Nothing here names tonic, sqlx, prost or the generated messages, and nothing here imports from [`crate::store`] or
//! [`crate::rpc`]: an architecture test checks it.
//!
//! # Decisions that are made in SQL
//!
//! Some rules depend on what other transactions do at the same time. They are decided by the statements in
//! [`crate::store`], because only Postgres sees every replica of the service:
//!
//! - **Retries** (AIP-155): a mutation and the row that remembers its request id are written by one statement. A
//!   request id that is taken is found by the primary key of `data.requests`.
//! - **Version conflicts**: an update names the version that it is based on, and the `UPDATE` matches that version. A
//!   check before the statement could be outdated when the statement runs.
//! - **Numbering**: message numbers, change numbers and crisis event numbers come from a counter that the statement
//!   locks until its transaction ends. Numbers therefore have no gaps and become visible in order, which a sequence
//!   does not guarantee.
//! - **Jobs**: a job's range comes from the same counter row, so that every message is covered by exactly one job.
//! - **Leases**: due jobs are taken with `FOR NO KEY UPDATE SKIP LOCKED`, and a lease is valid only by the clock of the
//!   database: workers and replicas have clocks of their own.
//! - **Share opening**: the access count, the wrong passcodes and the expiry are checked and counted by one SQL
//!   function, so that parallel calls cannot open a share more often than its limit.
//! - **Quotas** and the rate limit of mutations: triggers keep each person's counters and compare them with the
//!   transaction's limits, so that parallel calls cannot pass a limit together. The [limits](quota) are defined here.
//! - **Ownership**: Row Level Security limits each transaction to the caller's rows. A row of another person is not
//!   found.

pub mod analysis;
pub mod analysis_details;
pub mod audit;
pub mod completion;
pub mod crisis;
pub mod encrypted;
pub mod error_code;
pub mod job;
pub mod key_ring;
pub mod known_user;
pub mod lease;
pub mod message;
pub mod message_list;
pub mod milestone;
pub mod phrases;
pub mod quota;
pub mod retry_delay;
pub mod sealing;
