//! Hashing of passwords and passcodes with argon2 (RFC 9106), limited to one computation per core.
//!
//! [`HashQueue`] admits computations and provides their memory; a [`Recipe`] performs one. A [`HashLane`] is for those that need
//! more memory, beside the queue. The services decide which
//! recipe and which pepper are used, and which parameters of stored hashes are accepted.
//!
//! The computation is that of the crate `argon2-rust`, which takes 0.4 of the time of the crate `argon2` for the same
//! hash in the same memory; a test compares their results. Parameters and PHC strings are those of the crate `argon2`.

mod lane;
mod memory;
mod queue;
mod recipe;
mod throughput;

pub use self::{
    lane::{HashLane, LanePermit},
    memory::Memory,
    queue::{HashPermit, HashQueue, Interrupted, MAX_WAITING, Overloaded, describe_metrics},
    recipe::{LANES, MEMORY_KIB, OUTPUT_BYTES, PASSES, Recipe, SALT_BYTES},
};
