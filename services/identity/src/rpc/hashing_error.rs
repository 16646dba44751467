//! The conversion of hashing errors into failures.

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
