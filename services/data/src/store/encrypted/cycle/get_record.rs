//! GetRecord.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
};
use uuid::Uuid;

use super::{
    super::{calling_device::next_rotation, error::ReadError},
    RecordRow, Records,
};
use crate::domain::encrypted::record::Record;

/// A record that was read.
pub struct FoundRecord {
    /// The record, which is not deleted.
    pub record: Record,
    /// The time at which the next rotation of the calling device's key is due. `None` when the call names no device.
    pub next_rotation_at: Option<DateTime<Utc>>,
}

impl Records {
    /// Returns the caller's record with the id `id`, unless it is deleted. `device` is the calling device, if the call
    /// names one.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub async fn get(
        &self,
        caller: UserId,
        id: Uuid,
        device: Option<Uuid>,
        deadline: Deadline,
    ) -> Result<FoundRecord, ReadError> {
        let mut tx = self
            .database
            .begin("GetRecord", Context::User(caller), deadline)
            .await?;
        let next_rotation_at = next_rotation(&mut tx, caller, device).await?;
        let row = sqlx::query_as!(
            RecordRow,
            r#"
            SELECT /* GetRecord */ r.id, r.encrypted_payload, r.algorithm, r.key_id, r.key_version, r.nonce, r.salt,
                r.kdf_memory_kib, r.kdf_iterations, r.kdf_parallelism, r.version, r.device_id, r.local_timestamp,
                r.change_number, r.open_conflicts, r.deleted_at, r.created_at, r.updated_at,
                d.status = 'revoked' OR r.key_version < d.key_version AS "reencryption_due!",
                data.synced_number() AS "synced_number!"
            FROM data.encrypted_cycle_data AS r
            JOIN data.device_key AS d ON d.user_id = r.user_id AND d.id = r.key_id
            WHERE r.user_id = $1 AND r.id = $2 AND r.deleted_at IS NULL"#,
            caller.as_uuid(),
            id,
        )
        .fetch_optional(&mut tx)
        .await
        .map_err(DbError::from)?;
        tx.commit().await?;
        Ok(FoundRecord {
            record: row.ok_or(ReadError::NotFound)?.try_into()?,
            next_rotation_at,
        })
    }
}
