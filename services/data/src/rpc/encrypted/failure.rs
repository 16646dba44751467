//! Refusals, as they are answered.

use haven_platform::{
    failure::{Failure, Violation},
    reason::Reason,
};

use crate::store::encrypted::error::{ReadError, Refusal};

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Caller(error) => error.into(),
            ReadError::NotFound => Self::new(Reason::NotFound),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Caller(error) => error.into(),
            Refusal::NotFound => Self::new(Reason::NotFound),
            Refusal::RecordExists => Self::new(Reason::RecordExists),
            Refusal::VersionConflict { current } => {
                Self::new(Reason::VersionConflict).metadata("current_version", current.to_string())
            }
            Refusal::NonceReused => Self::new(Reason::NonceReused),
            Refusal::KeyVersionStale { current } => {
                Self::new(Reason::KeyVersionStale).metadata("current_key_version", current.to_string())
            }
            Refusal::KeyVersionUnknown { current } => {
                let violation = Violation::new(
                    "crypto_envelope.key_version",
                    "KEY_VERSION_UNKNOWN",
                    "The device's key has had no such version",
                );
                Self::violations(Reason::EnvelopeInvalid, vec![violation])
                    .metadata("current_key_version", current.to_string())
            }
            Refusal::CursorExpired(expiry) => expiry.into(),
            Refusal::RequestIdReused => Self::new(Reason::RequestIdReused),
        }
    }
}
