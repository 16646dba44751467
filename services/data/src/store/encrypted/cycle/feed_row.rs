//! Rows of the feed: the first one has its state, and each other one a record or a conflict.

use chrono::{DateTime, Utc};
use haven_platform::database::DbError;
use uuid::Uuid;

use super::row::sync_status;
use crate::{
    domain::encrypted::{
        feed::{Entry, History},
        record::{Conflict, Record},
    },
    store::encrypted::envelope_columns,
};

/// The state of a person's feed, or one entry.
pub(super) struct FeedRow {
    /// Not null in the first row only, like the five columns after it.
    pub(super) epoch: Option<Uuid>,
    pub(super) synced_number: Option<i64>,
    pub(super) last_number: Option<i64>,
    pub(super) purged_number: Option<i64>,
    pub(super) status: Option<String>,
    pub(super) next_rotation_at: Option<DateTime<Utc>>,
    pub(super) change_number: Option<i64>,
    pub(super) id: Option<Uuid>,
    /// Not null in a row of a conflict only.
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
    /// Not null in a row of a record only.
    pub(super) open_conflicts: Option<i32>,
    /// The time at which the conflict was settled. Null in a row of a record.
    pub(super) deleted_at: Option<DateTime<Utc>>,
    pub(super) created_at: Option<DateTime<Utc>>,
    /// Not null in a row of a record only.
    pub(super) updated_at: Option<DateTime<Utc>>,
    pub(super) reencryption_due: Option<bool>,
}

/// The state of a person's feed, as a device reads it.
pub(super) struct FeedState {
    /// The extent of the feed.
    pub(super) history: History,
    /// The number of the last change that every active device has acknowledged.
    pub(super) synced_number: i64,
    /// The status of the device.
    pub(super) status: String,
    /// The time at which the next rotation of the device's key is due.
    pub(super) next_rotation_at: DateTime<Utc>,
}

impl FeedRow {
    /// Returns the state that the first row has.
    ///
    /// # Errors
    ///
    /// When a column is null that no state may lack.
    pub(super) fn state(self) -> Result<FeedState, DbError> {
        let state = || {
            Some(FeedState {
                history: History {
                    epoch: self.epoch?,
                    last_number: self.last_number?,
                    purged_number: self.purged_number?,
                },
                synced_number: self.synced_number?,
                status: self.status?,
                next_rotation_at: self.next_rotation_at?,
            })
        };
        state().ok_or_else(|| DbError::unexpected("the state of the feed"))
    }

    /// Returns the entry of a row after the first one. `synced_number` is that of the state.
    ///
    /// # Errors
    ///
    /// When a column is null that no entry may lack.
    pub(super) fn entry(self, synced_number: i64) -> Result<Entry, DbError> {
        let row = self;
        let content = envelope_columns!(row).content()?;
        let entry = || {
            Some(match row.record_id {
                None => Entry::Record(Record {
                    id: row.id?,
                    content,
                    version: row.version?,
                    device_id: row.device_id?,
                    local_time: row.local_timestamp?,
                    sync_status: sync_status(row.open_conflicts?, row.change_number?, synced_number),
                    change_number: row.change_number?,
                    created_at: row.created_at?,
                    updated_at: row.updated_at?,
                    deleted_at: row.deleted_at,
                    // Null for a tombstone, which has no key.
                    reencryption_due: row.reencryption_due.unwrap_or_default(),
                }),
                Some(record_id) => Entry::Conflict(Conflict {
                    id: row.id?,
                    record_id,
                    base_version: row.version?,
                    content,
                    device_id: row.device_id?,
                    local_time: row.local_timestamp?,
                    created_at: row.created_at?,
                    settled_at: row.deleted_at,
                    change_number: row.change_number?,
                }),
            })
        };
        entry().ok_or_else(|| DbError::unexpected("an entry of the feed"))
    }
}
