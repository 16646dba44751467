//! The errors of hashing and checking a password.

use haven_platform::hashing::Overloaded;

use super::stored_hash::Unusable;

/// The error when a password was neither hashed nor checked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashingError {
    /// The queue has no turn before the deadline.
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
    /// The stored hash must not be checked.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// A bug, or lack of memory. The text says which, and holds nothing private.
    #[error("{0}")]
    Internal(String),
}

// === impl HashingError ===

impl HashingError {
    pub(super) fn internal(cause: impl std::fmt::Display) -> Self {
        Self::Internal(cause.to_string())
    }
}
