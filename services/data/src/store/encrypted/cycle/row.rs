//! Rows of records and of conflicts, as several statements read them.

use chrono::{DateTime, Utc};
use haven_platform::database::DbError;
use uuid::Uuid;

use crate::domain::encrypted::{
    envelope::{Algorithm, Encrypted, Envelope, KeyDerivation},
    record::{Conflict, Record, SyncStatus},
};

/// The columns of what is encrypted: all there, or none.
pub(in crate::store) struct EncryptedColumns {
    pub(in crate::store) encrypted_payload: Option<Vec<u8>>,
    pub(in crate::store) algorithm: Option<String>,
    pub(in crate::store) key_id: Option<Uuid>,
    pub(in crate::store) key_version: Option<i32>,
    pub(in crate::store) nonce: Option<Vec<u8>>,
    pub(in crate::store) salt: Option<Vec<u8>>,
    pub(in crate::store) kdf_memory_kib: Option<i32>,
    pub(in crate::store) kdf_iterations: Option<i32>,
    pub(in crate::store) kdf_parallelism: Option<i32>,
}

/// A record's row.
pub(in crate::store) struct RecordRow {
    pub(in crate::store) id: Uuid,
    pub(in crate::store) encrypted_payload: Option<Vec<u8>>,
    pub(in crate::store) algorithm: Option<String>,
    pub(in crate::store) key_id: Option<Uuid>,
    pub(in crate::store) key_version: Option<i32>,
    pub(in crate::store) nonce: Option<Vec<u8>>,
    pub(in crate::store) salt: Option<Vec<u8>>,
    pub(in crate::store) kdf_memory_kib: Option<i32>,
    pub(in crate::store) kdf_iterations: Option<i32>,
    pub(in crate::store) kdf_parallelism: Option<i32>,
    pub(in crate::store) version: i64,
    pub(in crate::store) device_id: Uuid,
    pub(in crate::store) local_timestamp: DateTime<Utc>,
    pub(in crate::store) change_number: i64,
    pub(in crate::store) open_conflicts: i32,
    pub(in crate::store) deleted_at: Option<DateTime<Utc>>,
    pub(in crate::store) created_at: DateTime<Utc>,
    pub(in crate::store) updated_at: DateTime<Utc>,
    /// Whether its key was rotated away, or is that of a device that was revoked.
    pub(in crate::store) reencryption_due: bool,
    /// Up to which number every active device has acknowledged.
    pub(in crate::store) synced_number: i64,
}

/// A conflict's row.
pub(in crate::store) struct ConflictRow {
    pub(in crate::store) id: Uuid,
    pub(in crate::store) record_id: Uuid,
    pub(in crate::store) base_version: i64,
    pub(in crate::store) encrypted_payload: Option<Vec<u8>>,
    pub(in crate::store) algorithm: Option<String>,
    pub(in crate::store) key_id: Option<Uuid>,
    pub(in crate::store) key_version: Option<i32>,
    pub(in crate::store) nonce: Option<Vec<u8>>,
    pub(in crate::store) salt: Option<Vec<u8>>,
    pub(in crate::store) kdf_memory_kib: Option<i32>,
    pub(in crate::store) kdf_iterations: Option<i32>,
    pub(in crate::store) kdf_parallelism: Option<i32>,
    pub(in crate::store) device_id: Uuid,
    pub(in crate::store) local_timestamp: DateTime<Utc>,
    pub(in crate::store) change_number: i64,
    pub(in crate::store) created_at: DateTime<Utc>,
    pub(in crate::store) settled_at: Option<DateTime<Utc>>,
}

impl EncryptedColumns {
    /// What is encrypted. None: there is nothing.
    pub(in crate::store) fn content(self) -> Result<Option<Encrypted>, DbError> {
        let Some(payload) = self.encrypted_payload else {
            return Ok(None);
        };
        let envelope = || {
            Some(Envelope {
                algorithm: Algorithm::from_name(&self.algorithm?)?,
                key_id: self.key_id?,
                key_version: self.key_version?,
                nonce: self.nonce?,
                salt: self.salt?,
                key_derivation: KeyDerivation {
                    memory_kib: self.kdf_memory_kib?,
                    iterations: self.kdf_iterations?,
                    parallelism: self.kdf_parallelism?,
                },
            })
        };
        let envelope = envelope().ok_or_else(|| DbError::unexpected("an envelope"))?;
        Ok(Some(Encrypted { payload, envelope }))
    }
}

impl TryFrom<RecordRow> for Record {
    type Error = DbError;

    fn try_from(row: RecordRow) -> Result<Self, DbError> {
        let sync_status = if row.open_conflicts > 0 {
            SyncStatus::Conflict
        } else if row.change_number > row.synced_number {
            SyncStatus::Pending
        } else {
            SyncStatus::Synced
        };
        let content = EncryptedColumns {
            encrypted_payload: row.encrypted_payload,
            algorithm: row.algorithm,
            key_id: row.key_id,
            key_version: row.key_version,
            nonce: row.nonce,
            salt: row.salt,
            kdf_memory_kib: row.kdf_memory_kib,
            kdf_iterations: row.kdf_iterations,
            kdf_parallelism: row.kdf_parallelism,
        };
        Ok(Self {
            id: row.id,
            content: content.content()?,
            version: row.version,
            device_id: row.device_id,
            local_time: row.local_timestamp,
            sync_status,
            change_number: row.change_number,
            created_at: row.created_at,
            updated_at: row.updated_at,
            deleted_at: row.deleted_at,
            reencryption_due: row.reencryption_due,
        })
    }
}

impl TryFrom<ConflictRow> for Conflict {
    type Error = DbError;

    fn try_from(row: ConflictRow) -> Result<Self, DbError> {
        let content = EncryptedColumns {
            encrypted_payload: row.encrypted_payload,
            algorithm: row.algorithm,
            key_id: row.key_id,
            key_version: row.key_version,
            nonce: row.nonce,
            salt: row.salt,
            kdf_memory_kib: row.kdf_memory_kib,
            kdf_iterations: row.kdf_iterations,
            kdf_parallelism: row.kdf_parallelism,
        };
        Ok(Self {
            id: row.id,
            record_id: row.record_id,
            base_version: row.base_version,
            content: content.content()?,
            device_id: row.device_id,
            local_time: row.local_timestamp,
            created_at: row.created_at,
            settled_at: row.settled_at,
            change_number: row.change_number,
        })
    }
}
