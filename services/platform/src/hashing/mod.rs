//! Hashing of what people choose as a secret, with argon2 (RFC 9106): as much at once as the machine can do, and no more.
//!
//! [`HashQueue`] says who may compute, and hands out the memory to do it in; a [`Recipe`] computes. Which recipe, under
//! which pepper, and what is believed of a stored hash is a service's own business.
//!
//! The kernel is the crate `argon2-rust`, which takes 0.4 of the time that the crate `argon2` takes for the same hash in
//! the same memory; a test holds each against the other. Parameters and PHC strings are the latter's business.

mod memory;
mod queue;
mod recipe;
mod throughput;

pub use self::{
    memory::Memory,
    queue::{HashPermit, HashQueue, Interrupted, MAX_WAITING, Overloaded, describe_metrics},
    recipe::{LANES, MEMORY_KIB, OUTPUT_BYTES, PASSES, Recipe, SALT_BYTES},
};
