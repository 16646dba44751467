//! Pages of the conflicts that are to be settled, in the order in which they came, by keyset.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
    page::PageSize,
};
use uuid::Uuid;

use super::{
    super::calling_device::{CallerError, next_rotation},
    Changes,
    row::ConflictRow,
};
use crate::domain::encrypted::record::Conflict;

/// Some of a person's conflicts.
pub struct Conflicts {
    /// In the order in which they came.
    pub conflicts: Vec<Conflict>,
    /// Whether there are more after them.
    pub more: bool,
    /// When the next rotation of the calling device's key is due.
    pub next_rotation_at: Option<DateTime<Utc>>,
}

impl Changes {
    /// The caller's open conflicts, of `record` or of every record, after the one whose change has the number `after`:
    /// at most `size` of them. Until it is settled, a conflict keeps its number.
    ///
    /// # Errors
    ///
    /// See [`CallerError`].
    pub async fn conflicts(
        &self,
        caller: UserId,
        deadline: Deadline,
        record: Option<Uuid>,
        after: i64,
        size: PageSize,
        device: Option<Uuid>,
    ) -> Result<Conflicts, CallerError> {
        let size = usize::from(size.get());
        // One more than asked for shows whether there is a next page.
        let limit = size as i64 + 1;
        let mut tx = self
            .database
            .begin("ListConflicts", Context::User(caller), deadline)
            .await?;
        let next_rotation_at = next_rotation(&mut tx, caller, device).await?;
        // Two statements, so that each finds its index: a record has few conflicts, whatever others have.
        let rows = match record {
            None => {
                sqlx::query_as!(
                    ConflictRow,
                    "/* ListConflicts */
                    SELECT id, record_id, base_version, encrypted_payload, algorithm, key_id, key_version, nonce, salt,
                        kdf_memory_kib, kdf_iterations, kdf_parallelism, device_id, local_timestamp, change_number,
                        created_at, settled_at
                    FROM data.cycle_data_conflicts
                    WHERE user_id = $1 AND change_number > $2 AND settled_at IS NULL
                    ORDER BY change_number
                    LIMIT $3",
                    caller.as_uuid(),
                    after,
                    limit,
                )
                .fetch_all(&mut tx)
                .await
            }
            Some(record) => {
                sqlx::query_as!(
                    ConflictRow,
                    "/* ListConflicts, of a record */
                    SELECT id, record_id, base_version, encrypted_payload, algorithm, key_id, key_version, nonce, salt,
                        kdf_memory_kib, kdf_iterations, kdf_parallelism, device_id, local_timestamp, change_number,
                        created_at, settled_at
                    FROM data.cycle_data_conflicts
                    WHERE user_id = $1 AND record_id = $4 AND change_number > $2 AND settled_at IS NULL
                    ORDER BY change_number
                    LIMIT $3",
                    caller.as_uuid(),
                    after,
                    limit,
                    record,
                )
                .fetch_all(&mut tx)
                .await
            }
        };
        let mut rows = rows.map_err(DbError::from)?;
        tx.commit().await?;
        let more = rows.len() > size;
        rows.truncate(size);
        let conflicts = rows.into_iter().map(Conflict::try_from);
        Ok(Conflicts {
            conflicts: conflicts.collect::<Result<_, _>>()?,
            more,
            next_rotation_at,
        })
    }
}
