//! A hash as the database has it: a PHC string, which an import or an attacker may have written.
//!
//! It says itself how much work checking it is, so it is believed only within bounds.

use argon2::{
    ARGON2ID_IDENT, Params, Version,
    password_hash::phc::{self, Output, Salt},
};

use super::hasher::{MEMORY_KIB, PASSES};

/// The most passes over memory that are done for a hash from elsewhere: what RFC 9106 recommends with little memory is 3.
const MAX_PASSES: u32 = 4 * PASSES;

/// The most lanes.
const MAX_LANES: u32 = 4;

/// The fewest octets of output that prove anything.
const MIN_OUTPUT: usize = 16;

/// A hash that can be checked: argon2id, within bounds.
pub(super) struct StoredHash {
    pub(super) params: Params,
    pub(super) salt: Salt,
    pub(super) output: Output,
}

/// Why a stored hash is not checked. A defect or an attack; no sign-in can succeed with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It is no PHC string, or not a whole one.
    #[error("the stored hash is no PHC string")]
    Syntax,
    /// It was made by another algorithm, or another version of it.
    #[error("the stored hash is of another algorithm")]
    Algorithm,
    /// Checking it would cost more than it may.
    #[error("the stored hash asks for more work than is allowed")]
    Bounds,
    /// It was made with a pepper that is not configured.
    #[error("the stored hash names a pepper that is not configured")]
    Pepper,
}

impl StoredHash {
    pub(super) fn parse(phc: &str) -> Result<Self, Unusable> {
        let hash = phc::PasswordHash::new(phc).map_err(|_| Unusable::Syntax)?;
        if hash.algorithm != ARGON2ID_IDENT || hash.version != Some(Version::V0x13.into()) {
            return Err(Unusable::Algorithm);
        }
        let params = Params::try_from(&hash).map_err(|_| Unusable::Syntax)?;
        let (Some(salt), Some(output)) = (hash.salt, hash.hash) else {
            return Err(Unusable::Syntax);
        };
        let within_bounds = params.m_cost() <= MEMORY_KIB
            && params.t_cost() <= MAX_PASSES
            && params.p_cost() <= MAX_LANES
            && params.data().is_empty()
            && output.len() >= MIN_OUTPUT;
        if within_bounds {
            Ok(Self { params, salt, output })
        } else {
            Err(Unusable::Bounds)
        }
    }
}
