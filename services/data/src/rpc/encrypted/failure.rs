//! Failures for the errors of the store that several services share.

use haven_platform::{
    failure::{Failure, Violation},
    reason::Reason,
};

use crate::{
    domain::encrypted::feed::Expiry,
    store::encrypted::{
        calling_device::CallerError,
        error::{ChangeError, ReadError},
    },
};

impl From<CallerError> for Failure {
    fn from(error: CallerError) -> Self {
        match error {
            CallerError::NoDevice => Self::new(Reason::NotFound),
            CallerError::AccountErased => Self::new(Reason::AccountErased),
            CallerError::DeviceInactive => Self::new(Reason::DeviceInactive),
            CallerError::Database(error) => error.into(),
        }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Caller(error) => error.into(),
            ReadError::NotFound => Self::new(Reason::NotFound),
        }
    }
}

impl From<ChangeError> for Failure {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Caller(error) => error.into(),
            ChangeError::NotFound => Self::new(Reason::NotFound),
            ChangeError::RecordExists => Self::new(Reason::RecordExists),
            ChangeError::VersionConflict { current } => {
                Self::new(Reason::VersionConflict).metadata("current_version", current.to_string())
            }
            ChangeError::NonceReused => Self::new(Reason::NonceReused),
            ChangeError::KeyVersionStale { current } => {
                Self::new(Reason::KeyVersionStale).metadata("current_key_version", current.to_string())
            }
            ChangeError::KeyVersionUnknown { current } => {
                let violation = Violation::new(
                    "crypto_envelope.key_version",
                    "KEY_VERSION_UNKNOWN",
                    "key_version must not be greater than the current version of the device's key",
                );
                Self::violations(Reason::EnvelopeInvalid, vec![violation])
                    .metadata("current_key_version", current.to_string())
            }
            ChangeError::CursorExpired(expiry) => expiry.into(),
            ChangeError::RequestIdReused => Self::new(Reason::RequestIdReused),
        }
    }
}

impl From<Expiry> for Failure {
    fn from(expiry: Expiry) -> Self {
        // A device behind a restore still has what the restore lost, and can push it again.
        let cause = match expiry {
            Expiry::Restored => "RESTORED",
            Expiry::RestoredAndPurged => "RESTORED_AND_PURGED",
            Expiry::Purged => "PURGED",
        };
        Self::new(Reason::CursorExpired).metadata("cause", cause)
    }
}
