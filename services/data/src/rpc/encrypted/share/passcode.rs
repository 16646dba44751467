//! The `passcode` field of requests, and the failures of hashing it.

use std::time::Duration;

use haven_platform::{
    failure::{Failure, Violation},
    reason::Reason,
    violations::Violations,
};
use secrecy::SecretString;

use crate::{
    domain::encrypted::passcode::Passcode,
    passcodes::{NoPermit, PasscodeError},
};

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
            PasscodeError::NoPermit(no_permit) => no_permit.into(),
            PasscodeError::Interrupted(_) | PasscodeError::Recipe | PasscodeError::Internal(_) => {
                Self::internal(error)
            }
        }
    }
}

impl From<NoPermit> for Failure {
    fn from(no_permit: NoPermit) -> Self {
        let failure = match no_permit {
            NoPermit::Total => Self::new(Reason::Overloaded),
            NoPermit::Holder(holder) => {
                Self::new(Reason::TooManyCalls).metadata("holder", holder.to_ascii_uppercase())
            }
        };
        failure.retry_after(NO_PERMIT)
    }
}
