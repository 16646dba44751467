//! Rows of the feed, which are of records or of conflicts.

use chrono::{DateTime, Utc};
use haven_platform::database::DbError;
use uuid::Uuid;

use super::row::{ConflictRow, RecordRow};
use crate::domain::encrypted::{
    feed::{Entry, History},
    record::{Conflict, Record},
};

/// The state of a person's changes, and beside it an entry, or nothing.
pub(super) struct FeedRow {
    pub(super) epoch: Uuid,
    pub(super) synced_number: i64,
    pub(super) last_number: i64,
    pub(super) purged_number: i64,
    pub(super) status: String,
    pub(super) next_rotation_at: DateTime<Utc>,
    pub(super) change_number: Option<i64>,
    pub(super) id: Option<Uuid>,
    /// Of a conflict.
    pub(super) record_id: Option<Uuid>,
    pub(super) version: Option<i64>,
    pub(super) encrypted_payload: Option<Vec<u8>>,
    pub(super) algorithm: Option<String>,
    pub(super) key_id: Option<Uuid>,
    pub(super) key_version: Option<i32>,
    pub(super) nonce: Option<Vec<u8>>,
    pub(super) salt: Option<Vec<u8>>,
    pub(super) kdf_memory_kib: Option<i32>,
    pub(super) kdf_iterations: Option<i32>,
    pub(super) kdf_parallelism: Option<i32>,
    pub(super) device_id: Option<Uuid>,
    pub(super) local_timestamp: Option<DateTime<Utc>>,
    /// Of a record.
    pub(super) open_conflicts: Option<i32>,
    /// Of a conflict: when it was settled.
    pub(super) deleted_at: Option<DateTime<Utc>>,
    pub(super) created_at: Option<DateTime<Utc>>,
    /// Of a record.
    pub(super) updated_at: Option<DateTime<Utc>>,
    pub(super) reencryption_due: Option<bool>,
}

impl FeedRow {
    /// What there is of the person's changes.
    pub(super) fn history(&self) -> History {
        History {
            epoch: self.epoch,
            last_number: self.last_number,
            purged_number: self.purged_number,
        }
    }

    /// The entry, if there is one beside the state.
    pub(super) fn entry(self) -> Result<Option<Entry>, DbError> {
        if self.id.is_none() {
            return Ok(None);
        }
        let entry = match self.record_id {
            None => self.record().map(|row| Record::try_from(row).map(Entry::Record)),
            Some(record) => self
                .conflict(record)
                .map(|row| Conflict::try_from(row).map(Entry::Conflict)),
        };
        entry
            .ok_or_else(|| DbError::unexpected("an entry of the feed"))?
            .map(Some)
    }

    /// None: something is missing that every record has.
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
            // Of a tombstone, which is under no key, nothing is known.
            reencryption_due: self.reencryption_due.unwrap_or_default(),
            synced_number: self.synced_number,
        })
    }

    /// None: something is missing that every conflict has.
    fn conflict(self, record: Uuid) -> Option<ConflictRow> {
        Some(ConflictRow {
            id: self.id?,
            record_id: record,
            base_version: self.version?,
            encrypted_payload: self.encrypted_payload,
            algorithm: self.algorithm,
            key_id: self.key_id,
            key_version: self.key_version,
            nonce: self.nonce,
            salt: self.salt,
            kdf_memory_kib: self.kdf_memory_kib,
            kdf_iterations: self.kdf_iterations,
            kdf_parallelism: self.kdf_parallelism,
            device_id: self.device_id?,
            local_timestamp: self.local_timestamp?,
            change_number: self.change_number?,
            created_at: self.created_at?,
            settled_at: self.deleted_at,
        })
    }
}
