//! Password hashing: argon2id (RFC 9106) under a secret pepper, as much at once as the machine can do and no more.
//!
//! [`Admission`] says who may compute and hands out the memory to do it in; [`Hasher`] computes. Checking a chosen password
//! against the policy costs as much as hashing it when somebody makes it so, and takes its turn in the same queue.

mod admission;
mod hasher;
mod memory;
mod pace;
mod pepper;
mod stored;

pub use self::{
    admission::{Admission, Overloaded, Slot, describe_metrics},
    hasher::{Hasher, Verdict},
    memory::Memory,
    pepper::{Pepper, Peppers, PeppersError},
    stored::Unusable,
};
