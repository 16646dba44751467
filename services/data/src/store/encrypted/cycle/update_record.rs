//! UpdateRecord.

use haven_platform::{call::UserId, deadline::Deadline, request_key::RequestKey};

use super::{super::error::ChangeError, ChangedRecord, Records};
use crate::domain::encrypted::change::SingleChange;

impl Records {
    /// Replaces the content of a record of the caller. Changes nothing, and returns the first answer again, when
    /// `request` or a request with the same content did so before.
    ///
    /// # Errors
    ///
    /// All of [`ChangeError`] but RecordExists. Nothing was changed, except possibly when the database failed: a retry
    /// finds out.
    pub async fn update(
        &self,
        caller: UserId,
        change: &SingleChange,
        request: RequestKey,
        deadline: Deadline,
    ) -> Result<ChangedRecord, ChangeError> {
        self.change("UpdateRecord", caller, change, request, deadline)
            .await
    }
}
