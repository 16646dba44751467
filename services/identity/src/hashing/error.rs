//! What can go wrong beside a wrong password.

use haven_platform::hashing::Overloaded;

use super::stored_hash::Unusable;

/// Why a password was neither hashed nor checked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashingError {
    /// There is no turn before the deadline.
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
    /// The stored hash is not one to check.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// A defect, or no memory left. The text says which and holds nothing private.
    #[error("{0}")]
    Internal(String),
}

// === impl HashingError ===

impl HashingError {
    pub(super) fn internal(cause: impl std::fmt::Display) -> Self {
        Self::Internal(cause.to_string())
    }
}
