//! Reading the change feed part by part, for PullChanges and WatchChanges.

use std::time::Duration;

use haven_platform::{
    call::{Call, UserId},
    deadline::Deadline,
    failure::Failure,
    page::PageTokens,
    violations::Violations,
};
use haven_proto::data::v1::FeedEntry;
use uuid::Uuid;

use super::{
    CycleRpc,
    record::{conflict_message, record_message},
    sync_cursor,
};
use crate::{
    domain::encrypted::feed::{Entry, SyncCursor},
    store::encrypted::cycle::{Changes, FeedError, FeedPart},
};

/// The time limit for reading one part. A slower database counts as unavailable.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// A device that reads the feed, from the call to the end of its stream.
pub(super) struct FeedReader {
    changes: Changes,
    pages: PageTokens,
    caller: UserId,
    device: Uuid,
    deadline: Deadline,
    /// The position after the last part that was read. `None` before the first part of a read from the start.
    cursor: Option<SyncCursor>,
    /// The number of the person's newest change at the last read.
    last_number: i64,
    /// The number of the person's newest change at the first read. `None` before it.
    goal: Option<i64>,
}

impl CycleRpc {
    /// Creates a reader for the device with the id `device` that continues at `cursor`, or begins at the start when
    /// that is empty.
    ///
    /// # Errors
    ///
    /// INVALID_FIELD when `device` or `cursor` is invalid.
    pub(super) fn feed_reader(&self, call: &Call, device: &str, cursor: &str) -> Result<FeedReader, Failure> {
        let caller = call.user()?;
        let mut violations = Violations::new();
        let device = violations.uuid("device_id", device);
        let cursor = sync_cursor::open(&self.pages, caller, cursor, &mut violations);
        violations.check()?;
        Ok(FeedReader {
            changes: self.changes.clone(),
            pages: self.pages.clone(),
            caller,
            device,
            deadline: call.deadline,
            cursor,
            last_number: 0,
            goal: None,
        })
    }
}

impl FeedReader {
    /// Reads the next part.
    pub(super) async fn read(&mut self) -> Result<FeedPart, Failure> {
        let deadline = self.deadline.at_most(READ_TIMEOUT);
        let part = self
            .changes
            .read(self.caller, self.device, self.cursor, self.goal, deadline)
            .await;
        let part = part.map_err(|error| self.deadline.attribute_timeout(error.into()))?;
        self.cursor = Some(part.cursor);
        self.last_number = part.last_number;
        self.goal.get_or_insert(part.last_number);
        Ok(part)
    }

    /// Returns whether everything up to the change `number` was read.
    pub(super) fn has_read(&self, number: i64) -> bool {
        self.cursor.is_some_and(|cursor| cursor.number >= number)
    }

    /// Returns the number of the person's newest change at the last read.
    pub(super) fn last_number(&self) -> i64 {
        self.last_number
    }

    /// Returns the device that reads.
    pub(super) fn device(&self) -> Uuid {
        self.device
    }

    /// Returns the deadline of the call.
    pub(super) fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// Converts a part into the entries of a message and the cursor after them.
    pub(super) fn message(&self, part: FeedPart) -> (Vec<FeedEntry>, String) {
        let entries = part.entries.into_iter().map(entry_message).collect();
        (entries, sync_cursor::seal(&self.pages, self.caller, part.cursor))
    }
}

fn entry_message(entry: Entry) -> FeedEntry {
    let change_number = entry.change_number();
    let (record, conflict) = match entry {
        Entry::Record(record) => (Some(record_message(record)), None),
        Entry::Conflict(conflict) => (None, Some(conflict_message(conflict))),
    };
    FeedEntry {
        change_number,
        record,
        conflict,
    }
}

impl From<FeedError> for Failure {
    fn from(error: FeedError) -> Self {
        match error {
            FeedError::Caller(error) => error.into(),
            FeedError::CursorExpired(expiry) => expiry.into(),
        }
    }
}
