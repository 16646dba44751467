//! What a caller is told when a password was neither hashed nor checked.

use haven_platform::failure::Failure;

use crate::hashing::HashingError;

impl From<HashingError> for Failure {
    fn from(error: HashingError) -> Self {
        match error {
            HashingError::Overloaded(overloaded) => overloaded.into(),
            HashingError::Unusable(_) | HashingError::Internal(_) => Self::internal(error),
        }
    }
}
