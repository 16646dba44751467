//! Cycle records and their change feed.

mod acknowledge_changes;
mod change_record;
mod create_record;
mod cycle_change;
mod delete_record;
mod feed_row;
mod get_record;
mod list_conflicts;
mod list_records;
mod purge_changes;
mod push_changes;
mod read_changes;
mod resolve_conflict;
mod row;
mod update_record;

use std::sync::Arc;

use haven_platform::database::Database;

pub(in crate::store) use self::row::{ConflictRow, RecordRow};
pub use self::{
    acknowledge_changes::Acknowledged,
    change_record::ChangedRecord,
    get_record::FoundRecord,
    list_conflicts::ListedConflicts,
    list_records::ListedRecords,
    push_changes::Pushed,
    read_changes::{FeedError, FeedPart},
    resolve_conflict::Settled,
};

/// The cycle records of all people, in the database: one at a time, or listed.
#[derive(Clone, Debug)]
pub struct Records {
    database: Arc<Database>,
}

/// The change feeds of all people, in the database: pushed, read and acknowledged changes, and conflicts.
#[derive(Clone, Debug)]
pub struct Changes {
    database: Arc<Database>,
}

// === impl Records ===

impl Records {
    /// Creates a store that uses `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }
}

// === impl Changes ===

impl Changes {
    /// Creates a store that uses `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }
}
