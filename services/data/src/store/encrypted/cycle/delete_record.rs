//! DeleteRecord.

use haven_platform::{call::UserId, deadline::Deadline, request_key::RequestKey};

use super::{super::error::ChangeError, ChangedRecord, Records};
use crate::domain::encrypted::change::SingleChange;

impl Records {
    /// Deletes a record of the caller. Changes nothing, and returns the first answer again, when `request` did so
    /// before, or another request of the same device over the same version.
    ///
    /// # Errors
    ///
    /// Caller, NotFound, VersionConflict, CursorExpired and RequestIdReused of [`ChangeError`]. Nothing was changed,
    /// except possibly when the database failed: a retry finds out.
    pub async fn delete(
        &self,
        caller: UserId,
        change: &SingleChange,
        request: RequestKey,
        deadline: Deadline,
    ) -> Result<ChangedRecord, ChangeError> {
        self.change("DeleteRecord", caller, change, request, deadline)
            .await
    }
}
