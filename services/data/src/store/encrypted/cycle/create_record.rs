//! CreateRecord.

use haven_platform::{call::UserId, deadline::Deadline, request_key::RequestKey};

use super::{super::error::ChangeError, ChangedRecord, Records};
use crate::domain::encrypted::change::SingleChange;

impl Records {
    /// Stores a new record of the caller. Changes nothing, and returns the first answer again, when `request` or a
    /// request with the same content did so before.
    ///
    /// # Errors
    ///
    /// Caller, RecordExists, NonceReused, KeyVersionStale, KeyVersionUnknown, CursorExpired and RequestIdReused of
    /// [`ChangeError`]. Nothing was changed, except possibly when the database failed: a retry finds out.
    pub async fn create(
        &self,
        caller: UserId,
        change: &SingleChange,
        request: RequestKey,
        deadline: Deadline,
    ) -> Result<ChangedRecord, ChangeError> {
        match self
            .change("CreateRecord", caller, change, request, deadline)
            .await
        {
            // The record exists, or existed until it was deleted, with other content.
            Err(ChangeError::VersionConflict { .. } | ChangeError::NotFound) => {
                Err(ChangeError::RecordExists)
            }
            outcome => outcome,
        }
    }
}
