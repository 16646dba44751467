//! What a caller is told when a password was neither hashed nor checked.

use haven_platform::{failure::Failure, reason::Reason};

use crate::hashing::HashingError;

impl From<HashingError> for Failure {
    fn from(error: HashingError) -> Self {
        match error {
            HashingError::Overloaded(overloaded) => {
                Self::new(Reason::Overloaded).retry_after(overloaded.retry_after)
            }
            HashingError::Unusable(_) | HashingError::Internal(_) => Self::internal(error),
        }
    }
}
