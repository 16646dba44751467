//! The conversion of recovery's errors into failures.

use haven_platform::{failure::Failure, reason::Reason};

use crate::{
    domain::recovery::MAX_OPEN_UNDOS,
    store::recovery::{CreateError, UseError},
};

impl From<CreateError> for Failure {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::NotFound => Self::new(Reason::NotFound),
            CreateError::Erased => Self::new(Reason::AccountErased),
            CreateError::External => Self::new(Reason::AuthProviderExternal),
            CreateError::SameAddress => Self::field(
                "email",
                "SAME_AS_CURRENT",
                "email must differ from the account's address",
            ),
            CreateError::EmailTaken => Self::new(Reason::EmailTaken),
            CreateError::TooManyChanges => {
                let limit = u64::from(MAX_OPEN_UNDOS.unsigned_abs());
                Self::quota_exceeded("email_changes", limit, limit)
            }
            CreateError::RequestIdReused => Self::new(Reason::RequestIdReused),
            // Reading again did not help: requests of one account came faster than they were answered.
            CreateError::Outdated => Self::new(Reason::Overloaded),
            CreateError::Limited(error) => error.into(),
        }
    }
}

impl From<UseError> for Failure {
    fn from(error: UseError) -> Self {
        match error {
            UseError::Outdated => Self::new(Reason::RecoveryTokenInvalid),
            UseError::EmailTaken => Self::new(Reason::EmailTaken),
            UseError::Database(error) => error.into(),
        }
    }
}
