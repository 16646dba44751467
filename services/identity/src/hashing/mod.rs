//! Password hashing: argon2id (RFC 9106) under a secret pepper, as much at once as the machine can do and no more.
//!
//! [`Passwords`] is what a call uses: it waits for a turn, and computes in it. [`Admission`] says who may compute and hands
//! out the memory to do it in; [`Hasher`] computes. Checking a chosen password against the policy costs more than hashing
//! it when somebody makes it so, and takes its turn in the same queue.
//!
//! The kernel is the crate `argon2-rust`, which takes 0.4 of the time that the crate `argon2` takes for the same hash in
//! the same memory; a test holds each against the other. Parameters, PHC strings and argon2 hashes from elsewhere are
//! the latter's business.

mod admission;
mod error;
mod foreign;
mod hasher;
mod memory;
mod pace;
mod passwords;
mod pepper;
mod recipe;
mod stored;

pub use self::{
    admission::{Admission, Overloaded, Slot, describe_metrics},
    error::HashingError,
    hasher::{Hasher, Verdict},
    memory::Memory,
    passwords::{Checked, Passwords},
    pepper::{Pepper, Peppers, PeppersError},
    stored::Unusable,
};
