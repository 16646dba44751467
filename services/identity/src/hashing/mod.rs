//! Password hashing: argon2id (RFC 9106) under a secret pepper, as much at once as the machine can do and no more.
//!
//! [`Passwords`] is what a call uses: it waits for a turn, and computes in it. Who has one, and in which memory, is the
//! business of [`haven_platform::hashing`]; [`Hasher`] computes. Checking a chosen password against the policy costs more
//! than hashing it when somebody makes it so, and takes its turn in the same queue.
//!
//! Hashes from elsewhere are checked by the crates of their own algorithms.

mod error;
mod imported;
mod hasher;
mod passwords;
mod pepper;
mod stored_hash;

pub use self::{
    error::HashingError,
    hasher::{Hasher, Verdict},
    passwords::{Checked, Passwords, describe_metrics},
    pepper::{Pepper, Peppers, PeppersError},
    stored_hash::Unusable,
};
