//! Rows of records and of conflicts.

use chrono::{DateTime, Utc};
use haven_platform::database::DbError;
use uuid::Uuid;

use crate::{
    domain::encrypted::record::{Conflict, Record, SyncStatus},
    store::encrypted::envelope_columns,
};

/// A record as a row.
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
    /// `true` when the record's key was rotated, or is that of a revoked device.
    pub(in crate::store) reencryption_due: bool,
    /// The number of the last change that every active device has acknowledged.
    pub(in crate::store) synced_number: i64,
}

/// A conflict as a row.
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

/// Returns the sync status of a record. `change_number` is that of its last change.
pub(super) fn sync_status(open_conflicts: i32, change_number: i64, synced_number: i64) -> SyncStatus {
    if open_conflicts > 0 {
        SyncStatus::Conflict
    } else if change_number > synced_number {
        SyncStatus::Pending
    } else {
        SyncStatus::Synced
    }
}

impl TryFrom<RecordRow> for Record {
    type Error = DbError;

    fn try_from(row: RecordRow) -> Result<Self, DbError> {
        Ok(Self {
            id: row.id,
            sync_status: sync_status(row.open_conflicts, row.change_number, row.synced_number),
            version: row.version,
            device_id: row.device_id,
            local_time: row.local_timestamp,
            change_number: row.change_number,
            created_at: row.created_at,
            updated_at: row.updated_at,
            deleted_at: row.deleted_at,
            reencryption_due: row.reencryption_due,
            content: envelope_columns!(row).content()?,
        })
    }
}

impl TryFrom<ConflictRow> for Conflict {
    type Error = DbError;

    fn try_from(row: ConflictRow) -> Result<Self, DbError> {
        Ok(Self {
            id: row.id,
            record_id: row.record_id,
            base_version: row.base_version,
            device_id: row.device_id,
            local_time: row.local_timestamp,
            created_at: row.created_at,
            settled_at: row.settled_at,
            change_number: row.change_number,
            content: envelope_columns!(row).content()?,
        })
    }
}
