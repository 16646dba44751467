//! GetRecord.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError, Effect},
    deadline::Deadline,
};
use uuid::Uuid;

use super::{
    super::{
        calling_device::{check_active, no_device_of},
        error::ReadError,
    },
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
        let row = self
            .database
            .call("GetRecord", Context::User(caller), Effect::Reads, deadline)
            .fetch_one(|| {
                sqlx::query_as!(
                    FoundRow,
                    r#"
                    SELECT /* GetRecord */ status, next_rotation_at, id, encrypted_payload, algorithm, key_id, key_version, nonce,
                        salt, kdf_memory_kib, kdf_iterations, kdf_parallelism, version, device_id, local_timestamp, change_number,
                        open_conflicts, deleted_at, created_at, updated_at, reencryption_due, synced_number
                    FROM data.get_record_1($1, $2, $3)"#,
                    caller.as_uuid(),
                    device,
                    id,
                )
            })
            .await?;
        match row.status.as_deref() {
            None => {}
            Some("no_device") => {
                return Err(no_device_of(&self.database, "GetRecord", caller, deadline)
                    .await
                    .into());
            }
            Some(status) => check_active(status)?,
        }
        let next_rotation_at = row.next_rotation_at;
        if row.id.is_none() {
            return Err(ReadError::NotFound);
        }
        let row = row.record().ok_or_else(|| DbError::unexpected("a record"))?;
        Ok(FoundRecord {
            record: row.try_into()?,
            next_rotation_at,
        })
    }
}

/// The status of the calling device, and the record. The record's columns are null when there is none.
struct FoundRow {
    /// Null when the call names no device.
    status: Option<String>,
    next_rotation_at: Option<DateTime<Utc>>,
    id: Option<Uuid>,
    encrypted_payload: Option<Vec<u8>>,
    algorithm: Option<String>,
    key_id: Option<Uuid>,
    key_version: Option<i32>,
    nonce: Option<Vec<u8>>,
    salt: Option<Vec<u8>>,
    kdf_memory_kib: Option<i32>,
    kdf_iterations: Option<i32>,
    kdf_parallelism: Option<i32>,
    version: Option<i64>,
    device_id: Option<Uuid>,
    local_timestamp: Option<DateTime<Utc>>,
    change_number: Option<i64>,
    open_conflicts: Option<i32>,
    deleted_at: Option<DateTime<Utc>>,
    created_at: Option<DateTime<Utc>>,
    updated_at: Option<DateTime<Utc>>,
    reencryption_due: Option<bool>,
    synced_number: Option<i64>,
}

impl FoundRow {
    /// Returns the record. `None` when a column is null that no record may lack.
    fn record(self) -> Option<RecordRow> {
        Some(RecordRow {
            id: self.id?,
            encrypted_payload: self.encrypted_payload,
            algorithm: self.algorithm,
            key_id: self.key_id,
            key_version: self.key_version,
            nonce: self.nonce,
            salt: self.salt,
            kdf_memory_kib: self.kdf_memory_kib,
            kdf_iterations: self.kdf_iterations,
            kdf_parallelism: self.kdf_parallelism,
            version: self.version?,
            device_id: self.device_id?,
            local_timestamp: self.local_timestamp?,
            change_number: self.change_number?,
            open_conflicts: self.open_conflicts?,
            deleted_at: self.deleted_at,
            created_at: self.created_at?,
            updated_at: self.updated_at?,
            reencryption_due: self.reencryption_due?,
            synced_number: self.synced_number?,
        })
    }
}
