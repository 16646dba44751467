//! The `passcode` field of requests, and the failures of hashing it.

use std::time::Duration;

use haven_platform::{
    failure::{Failure, Violation},
    violations::Violations,
};
use secrecy::SecretString;

use crate::{domain::encrypted::passcode::Passcode, passcodes::PasscodeError};

/// The retry delay for a caller without a permit: longer than it takes to hash for all permits of one network.
const NO_PERMIT: Duration = Duration::from_secs(1);

/// Parses a passcode. `None` when the passcode is empty; also when it is invalid, which adds a violation.
pub(super) fn parse(text: SecretString, violations: &mut Violations) -> Option<Passcode> {
    Passcode::parse(text).unwrap_or_else(|problem| {
        violations.add(Violation::new("passcode", problem.name(), problem.description()));
        None
    })
}

impl From<PasscodeError> for Failure {
    fn from(error: PasscodeError) -> Self {
        match error {
            PasscodeError::Overloaded(overloaded) => overloaded.into(),
            PasscodeError::NoPermit(no_permit) => Self::from(no_permit).retry_after(NO_PERMIT),
            PasscodeError::Interrupted(_) | PasscodeError::Recipe | PasscodeError::Internal(_) => {
                Self::internal(error)
            }
        }
    }
}
