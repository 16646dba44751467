//! The filter, the order and the cursor of ListRecords.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::record::Record;

/// The order of listed records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordOrder {
    /// Descending local time, then descending id.
    NewestFirst,
    /// Ascending local time, then ascending id.
    OldestFirst,
    /// Ascending number of the last change.
    ByChange,
}

/// The filter and the order of a list of records. Deleted records are never listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordListing {
    /// The order of the list.
    pub order: RecordOrder,
    /// Includes only records with this local time or a later one. `None` when there is no lower bound.
    pub from: Option<DateTime<Utc>>,
    /// Includes only records with an earlier local time. `None` when there is no upper bound.
    pub until: Option<DateTime<Utc>>,
    /// Includes only records that a device has to encrypt again.
    pub reencryption_due: bool,
}

/// The keyset cursor of a list of records. It holds the sort keys of every [`RecordOrder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordCursor {
    /// The record's local time, to the microsecond.
    pub local_time: DateTime<Utc>,
    /// The number of the record's last change.
    pub change_number: i64,
    /// The record's id, which orders records of the same local time.
    pub id: Uuid,
}

impl RecordCursor {
    /// Returns the cursor of `record`.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        Self {
            local_time: record.local_time,
            change_number: record.change_number,
            id: record.id,
        }
    }
}
