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

/// A bound of a list in the order of local time: a time, if there is one, and an id.
pub type TimeBound = (Option<DateTime<Utc>>, Uuid);

// === impl RecordListing ===

impl RecordListing {
    /// Returns the exclusive lower and upper bound of the page after `after`, for the orders by local time.
    #[must_use]
    pub fn bounds(self, after: Option<RecordCursor>) -> (TimeBound, TimeBound) {
        let cursor = after.map(|cursor| (Some(cursor.local_time), cursor.id));
        // No id is less than the nil UUID, so a time with it comes before every record of that time.
        let (from, until) = ((self.from, Uuid::nil()), (self.until, Uuid::nil()));
        match self.order {
            RecordOrder::OldestFirst => (cursor.unwrap_or(from), until),
            RecordOrder::NewestFirst => (from, cursor.unwrap_or(until)),
            RecordOrder::ByChange => (from, until),
        }
    }
}

// === impl RecordCursor ===

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
