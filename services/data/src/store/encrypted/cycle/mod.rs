//! How devices keep in step: what they push, what they pull, and what they have acknowledged. For pushing see
//! [`push_changes`], for conflicts [`list_conflicts`] and [`resolve_conflict`].

pub mod acknowledge_changes;
pub mod change_record;
mod feed_row;
pub mod get_record;
pub mod list_conflicts;
pub mod list_records;
pub mod push_changes;
pub mod read_changes;
pub mod resolve_conflict;
pub mod row;

use std::sync::Arc;

use haven_platform::database::Database;

/// How devices keep in step: what they push, what they pull, and what they have acknowledged.
#[derive(Clone, Debug)]
pub struct Changes {
    pub(super) database: Arc<Database>,
}

impl Changes {
    /// Those in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }
}
