//! Rows of the feed: each has a record or a conflict.

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

/// The state of a person's feed, and one entry. The only row of an empty feed has no entry.
pub(super) struct FeedRow {
    pub(super) epoch: Uuid,
    pub(super) synced_number: i64,
    pub(super) last_number: i64,
    pub(super) purged_number: i64,
    pub(super) status: String,
    pub(super) next_rotation_at: DateTime<Utc>,
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

impl FeedRow {
    /// Returns the extent of the feed.
    pub(super) fn history(&self) -> History {
        History {
            epoch: self.epoch,
            last_number: self.last_number,
            purged_number: self.purged_number,
        }
    }

    /// Returns the entry. `None` when the row has none.
    ///
    /// # Errors
    ///
    /// When a column is null that no entry may lack.
    pub(super) fn entry(self) -> Result<Option<Entry>, DbError> {
        if self.id.is_none() {
            return Ok(None);
        }
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
                    sync_status: sync_status(row.open_conflicts?, row.change_number?, row.synced_number),
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
        let entry = entry().ok_or_else(|| DbError::unexpected("an entry of the feed"))?;
        Ok(Some(entry))
    }
}
