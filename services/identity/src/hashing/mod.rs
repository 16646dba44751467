//! Password hashing: argon2id (RFC 9106) with a secret pepper, with as many concurrent computations as the machine has
//! cores.
//!
//! Calls use [`Passwords`], which waits for a turn in the queue of [`haven_platform::hashing`] and then computes with
//! [`Hasher`]. A password can be chosen so that checking it against the policy costs more than hashing it, so that
//! check uses the same queue.
//!
//! Imported hashes are checked by the crates of their own algorithms, in a lane of their own with a budget of memory.
//! [`import_format`] converts what other software exports into what is stored.

mod error;
mod hasher;
pub mod import_format;
mod imported;
mod imported_secrets;
mod passwords;
mod pepper;
mod stored_hash;

pub use self::{
    error::HashingError,
    hasher::{Hasher, Verdict},
    imported_secrets::{Imported, ImportedSecrets, ImportedSecretsError},
    passwords::{Checked, Passwords, describe_metrics},
    pepper::{Pepper, Peppers, PeppersError},
    stored_hash::{Bounds, Unusable},
};
