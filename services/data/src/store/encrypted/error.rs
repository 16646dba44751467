//! Why what is encrypted is not read, or not changed, as the functions in SQL say it.

use haven_platform::database::DbError;
use thiserror::Error;

use super::calling_device::CallerError;
use crate::{domain::encrypted::feed::Expiry, store::request::id_taken};

/// Why something is not read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The device may not call, or the database failed.
    #[error(transparent)]
    Caller(#[from] CallerError),
    /// The person has no such thing, or it is deleted.
    #[error("there is no such thing")]
    NotFound,
}

/// Why something is not changed.
#[derive(Debug, Error)]
pub enum Refusal {
    /// The device may not call, or the database failed.
    #[error(transparent)]
    Caller(#[from] CallerError),
    /// The person has no such thing, or it is deleted.
    #[error("there is no such thing")]
    NotFound,
    /// The id of a new record belongs to one with another content.
    #[error("there is a record with this id")]
    RecordExists,
    /// There is another version than the change is based on.
    #[error("the version is {current}")]
    VersionConflict {
        /// The version that there is. 0: there is nothing.
        current: i64,
    },
    /// The nonce was used under the same key for something else.
    #[error("the nonce was used before")]
    NonceReused,
    /// The device's key was rotated.
    #[error("the device's key has version {current}")]
    KeyVersionStale {
        /// The version that it has.
        current: i32,
    },
    /// The device's key has had no such version.
    #[error("the device's key has version {current}, and has had no such version")]
    KeyVersionUnknown {
        /// The version that it has.
        current: i32,
    },
    /// What the device knows is of another history than the database's.
    #[error("what the device has seen has expired: {0:?}")]
    CursorExpired(Expiry),
    /// The request id belongs to a request with other content.
    #[error("the request id belongs to another request")]
    RequestIdReused,
}

impl Refusal {
    /// What an `outcome` of a change says that is no success, with the versions of what was to be changed and of the
    /// key that came with it. Whether the device may call was looked at before.
    pub(super) fn of(outcome: &str, version: Option<i64>, key_version: Option<i32>) -> Self {
        match (outcome, version, key_version) {
            ("behind", ..) => Self::CursorExpired(Expiry::Restored),
            ("not_found" | "deleted", ..) => Self::NotFound,
            ("conflict", Some(current), _) => Self::VersionConflict { current },
            ("nonce_reused", ..) => Self::NonceReused,
            ("key_version_stale", _, Some(current)) => Self::KeyVersionStale { current },
            ("key_version_unknown", _, Some(current)) => Self::KeyVersionUnknown { current },
            ("request_id_reused", ..) => Self::RequestIdReused,
            _ => DbError::unexpected("the outcome of a change").into(),
        }
    }

    /// Whether the id of the request is taken: by the same request, or by another one.
    pub(super) fn id_taken(&self) -> bool {
        matches!(self, Self::Caller(CallerError::Database(error)) if id_taken(error))
    }
}

impl From<DbError> for ReadError {
    fn from(error: DbError) -> Self {
        Self::Caller(error.into())
    }
}

impl From<DbError> for Refusal {
    fn from(error: DbError) -> Self {
        Self::Caller(error.into())
    }
}
