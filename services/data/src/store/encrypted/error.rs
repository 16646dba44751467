//! The errors of reading and of changing encrypted content, as the SQL functions name them.

use haven_platform::database::DbError;
use thiserror::Error;

use super::calling_device::CallerError;
use crate::{domain::encrypted::feed::Expiry, store::request::id_taken};

/// The reason why something was not read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The device may not call, or the database failed.
    #[error(transparent)]
    Caller(#[from] CallerError),
    /// The item does not exist, is deleted, or is not owned by the caller.
    #[error("not found")]
    NotFound,
}

/// The reason why something was not changed.
#[derive(Debug, Error)]
pub enum ChangeError {
    /// The device may not call, or the database failed.
    #[error(transparent)]
    Caller(#[from] CallerError),
    /// The item does not exist, is deleted, or is not owned by the caller.
    #[error("not found")]
    NotFound,
    /// The id of a new record belongs to a record with other content.
    #[error("a record with this id exists")]
    RecordExists,
    /// The item has another version than the change is based on.
    #[error("the version is {current}")]
    VersionConflict {
        /// The current version. 0 when the item does not exist.
        current: i64,
    },
    /// The nonce was used under the same key for other content.
    #[error("the nonce was used before")]
    NonceReused,
    /// The content is encrypted under a key version that was rotated away.
    #[error("the device's key has version {current}")]
    KeyVersionStale {
        /// The current version of the device's key.
        current: i32,
    },
    /// The content is encrypted under a key version that the device's key has not reached.
    #[error("the device's key has version {current}, and has never had the given version")]
    KeyVersionUnknown {
        /// The current version of the device's key.
        current: i32,
    },
    /// The device's cursor belongs to another history than the database's.
    #[error("the cursor has expired: {0:?}")]
    CursorExpired(Expiry),
    /// The request id belongs to a request with other content.
    #[error("the request id belongs to another request")]
    RequestIdReused,
}

impl ChangeError {
    /// Converts an `outcome` that is not a success, with the current version of the item and of the device's key.
    ///
    /// Outcomes about the calling device are checked before, by [`super::calling_device::check_outcome`].
    pub(super) fn from_outcome(outcome: &str, version: Option<i64>, key_version: Option<i32>) -> Self {
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

    /// Returns whether the error is that the request id is taken, by the same request or by another one.
    pub(super) fn is_id_taken(&self) -> bool {
        matches!(self, Self::Caller(CallerError::Database(error)) if id_taken(error))
    }

    /// Returns whether the person is over a quota or a rate limit.
    pub(super) fn is_over_limit(&self) -> bool {
        matches!(self, Self::Caller(CallerError::Database(error)) if error.is_over_limit())
    }
}

impl From<DbError> for ReadError {
    fn from(error: DbError) -> Self {
        Self::Caller(error.into())
    }
}

impl From<DbError> for ChangeError {
    fn from(error: DbError) -> Self {
        Self::Caller(error.into())
    }
}
