//! Which records a list shows, and in which order.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::record::Record;

/// In which order records come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordOrder {
    /// By when they happened, downwards.
    NewestFirst,
    /// By when they happened, upwards.
    OldestFirst,
    /// By the number of their last change, upwards.
    ByChange,
}

/// The records that a list shows. None of them is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordListing {
    /// In which order.
    pub order: RecordOrder,
    /// Only those that happened at this time or later.
    pub from: Option<DateTime<Utc>>,
    /// Only those that happened before this time.
    pub until: Option<DateTime<Utc>>,
    /// Only those that are under a key that is nobody's any more.
    pub reencryption_due: bool,
}

/// The place of a record among its person's, in every order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordCursor {
    /// When it happened.
    pub local_time: DateTime<Utc>,
    /// The number of its last change.
    pub change_number: i64,
    /// Its id.
    pub id: Uuid,
}

impl RecordCursor {
    /// The place of `record`.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        Self {
            local_time: record.local_time,
            change_number: record.change_number,
            id: record.id,
        }
    }
}
