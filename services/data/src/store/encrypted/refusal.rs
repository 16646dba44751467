//! Why what is encrypted is not read, or not changed, as the functions in SQL say it.

use haven_platform::database::DbError;
use thiserror::Error;

use super::caller::CallerError;
use crate::domain::encrypted::feed::Expiry;

/// Why a record was not read, or not changed.
#[derive(Debug, Error)]
pub enum Refusal {
    /// The person has no such device.
    #[error("there is no such device")]
    NoDevice,
    /// The device is suspended or revoked.
    #[error("the device is not active")]
    DeviceInactive,
    /// The person has no such record, or it is deleted.
    #[error("there is no such record")]
    NotFound,
    /// The id of a new record belongs to one with another content.
    #[error("there is a record with this id")]
    RecordExists,
    /// The record has another version than the change is based on.
    #[error("the record has version {current}")]
    VersionConflict {
        /// The version that it has.
        current: i64,
    },
    /// The nonce was used under the same key for something else.
    #[error("the nonce was used before")]
    NonceReused,
    /// The device's key was rotated.
    #[error("the device's key has version {current}")]
    KeyVersionStale {
        /// The version that it has.
        current: i64,
    },
    /// The device's key has had no such version.
    #[error("the device's key has version {current}, and has had no such version")]
    KeyVersionUnknown {
        /// The version that it has.
        current: i64,
    },
    /// The device is in another history than the database.
    #[error("the cursor has expired: {0:?}")]
    CursorExpired(Expiry),
    /// The request id belongs to a request with other content.
    #[error("the request id belongs to another request")]
    RequestIdReused,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl Refusal {
    /// What an `outcome` of a change says that is no success, with the version that came with it.
    pub(super) fn of(outcome: &str, version: Option<i64>) -> Self {
        match (outcome, version) {
            ("no_device", _) => Self::NoDevice,
            ("device_inactive", _) => Self::DeviceInactive,
            ("not_found" | "deleted", _) => Self::NotFound,
            ("conflict", Some(current)) => Self::VersionConflict { current },
            ("nonce_reused", _) => Self::NonceReused,
            ("key_version_stale", Some(current)) => Self::KeyVersionStale { current },
            ("key_version_unknown", Some(current)) => Self::KeyVersionUnknown { current },
            ("request_id_reused", _) => Self::RequestIdReused,
            _ => DbError::unexpected("the outcome of a change").into(),
        }
    }
}

impl From<CallerError> for Refusal {
    fn from(error: CallerError) -> Self {
        match error {
            CallerError::NoDevice => Self::NoDevice,
            CallerError::DeviceInactive => Self::DeviceInactive,
            CallerError::Database(error) => error.into(),
        }
    }
}
