//! ListConflicts: pages of a person's open conflicts in the order of arrival, by keyset.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
    page::{Page, PageSize},
};
use uuid::Uuid;

use super::{
    super::calling_device::{CallerError, next_rotation},
    Changes, ConflictRow,
};
use crate::domain::encrypted::record::Conflict;

/// A page of a person's open conflicts, in the order of arrival.
pub struct ListedConflicts {
    /// The page of open conflicts.
    pub page: Page<Conflict>,
    /// The time at which the next rotation of the calling device's key is due. `None` when the call names no device.
    pub next_rotation_at: Option<DateTime<Utc>>,
}

impl Changes {
    /// Returns a page of the caller's open conflicts, of `record` or of every record, after the one with the change
    /// number `after`. An open conflict keeps its number. `device` is the calling device, if the call names one.
    ///
    /// # Errors
    ///
    /// See [`CallerError`].
    pub async fn list_conflicts(
        &self,
        caller: UserId,
        device: Option<Uuid>,
        record: Option<Uuid>,
        after: i64,
        size: PageSize,
        deadline: Deadline,
    ) -> Result<ListedConflicts, CallerError> {
        let mut tx = self
            .database
            .begin("ListConflicts", Context::User(caller), deadline)
            .await?;
        let next_rotation_at = next_rotation(&mut tx, caller, device).await?;
        // Two statements, so that each uses its index: a record has few conflicts, however many other records have.
        let rows = match record {
            None => {
                sqlx::query_as!(
                    ConflictRow,
                    "
                    SELECT /* ListConflicts */
                           id, record_id, base_version, encrypted_payload, algorithm, key_id, key_version, nonce, salt,
                        kdf_memory_kib, kdf_iterations, kdf_parallelism, device_id, local_timestamp, change_number,
                        created_at, settled_at
                    FROM data.cycle_data_conflicts
                    WHERE user_id = $1 AND change_number > $2 AND settled_at IS NULL
                    ORDER BY change_number
                    LIMIT $3",
                    caller.as_uuid(),
                    after,
                    size.limit(),
                )
                .fetch_all(&mut tx)
                .await
            }
            Some(record) => {
                sqlx::query_as!(
                    ConflictRow,
                    "
                    SELECT /* ListConflicts, of a record */
                           id, record_id, base_version, encrypted_payload, algorithm, key_id, key_version, nonce, salt,
                        kdf_memory_kib, kdf_iterations, kdf_parallelism, device_id, local_timestamp, change_number,
                        created_at, settled_at
                    FROM data.cycle_data_conflicts
                    WHERE user_id = $1 AND record_id = $4 AND change_number > $2 AND settled_at IS NULL
                    ORDER BY change_number
                    LIMIT $3",
                    caller.as_uuid(),
                    after,
                    size.limit(),
                    record,
                )
                .fetch_all(&mut tx)
                .await
            }
        };
        let rows = rows.map_err(DbError::from)?;
        tx.commit().await?;
        Ok(ListedConflicts {
            page: Page::try_from_rows(rows, size)?,
            next_rotation_at,
        })
    }
}
