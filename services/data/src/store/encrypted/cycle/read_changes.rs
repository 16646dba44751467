//! PullChanges and WatchChanges: reads the feed of a person's changes, one part at a time.
//!
//! A part is read by one call, so by one snapshot: the purged number, the last number and the entries between them
//! are consistent. Numbers become visible in order, because a transaction that assigns one holds the lock on the
//! person's counter until it commits.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError, Effect},
    deadline::Deadline,
};
use thiserror::Error;
use uuid::Uuid;

use super::{
    super::calling_device::{CallerError, check_active, no_device_of},
    Changes,
    feed_row::FeedRow,
};
use crate::domain::encrypted::feed::{Entry, Expiry, SyncCursor};

/// The maximum size in bytes of the payloads of a part, without its last entry. It bounds the memory of one watch; with
/// the envelopes and the last payload, a part is well below the limit of a response.
const PART_BYTES: i64 = 1024 * 1024;

/// A part of the feed.
pub struct FeedPart {
    /// The entries, by ascending change number.
    pub entries: Vec<Entry>,
    /// The cursor after the last entry.
    pub cursor: SyncCursor,
    /// The number of the person's newest change.
    pub last_number: i64,
    /// The time at which the next rotation of the calling device's key is due.
    pub next_rotation_at: DateTime<Utc>,
}

/// The reason why a device cannot read or acknowledge the feed.
#[derive(Debug, Error)]
pub enum FeedError {
    /// The device may not call, or the database failed.
    #[error(transparent)]
    Caller(#[from] CallerError),
    /// The device has to read the feed from the start.
    #[error("the cursor has expired: {0:?}")]
    CursorExpired(Expiry),
}

impl From<DbError> for FeedError {
    fn from(error: DbError) -> Self {
        Self::Caller(error.into())
    }
}

// === impl Changes ===

impl Changes {
    /// Returns the next part of the feed: the changes after `after`, or from the start. `device` is the calling device. `goal`
    /// is the number of the person's newest change when the read began; `None` when it begins with this part.
    ///
    /// # Errors
    ///
    /// See [`FeedError`].
    pub async fn read(
        &self,
        caller: UserId,
        device: Uuid,
        after: Option<SyncCursor>,
        goal: Option<i64>,
        deadline: Deadline,
    ) -> Result<FeedPart, FeedError> {
        let rows = self
            .database
            .call("ReadChanges", Context::User(caller), Effect::Reads, deadline)
            .fetch_all(|| {
                sqlx::query_as!(
                    FeedRow,
                    r#"
                    SELECT /* ReadChanges */ epoch, synced_number, last_number, purged_number, status, next_rotation_at,
                        change_number, id, record_id, version, encrypted_payload, algorithm, key_id, key_version, nonce, salt,
                        kdf_memory_kib, kdf_iterations, kdf_parallelism, device_id, local_timestamp, open_conflicts, deleted_at,
                        created_at, updated_at, reencryption_due
                    FROM data.read_changes_1($1, $2, $3, $4)"#,
                    caller.as_uuid(),
                    device,
                    after.map_or(0, |after| after.number),
                    PART_BYTES,
                )
            })
            .await?;
        let mut rows = rows.into_iter();
        let Some(state) = rows.next() else {
            let why = no_device_of(&self.database, "ReadChanges", caller, deadline).await;
            return Err(why.into());
        };
        let state = state.state()?;
        check_active(&state.status)?;
        let history = state.history;
        let after = after.unwrap_or_else(|| history.start());
        history
            .check_complete_after(after)
            .map_err(FeedError::CursorExpired)?;
        let entries = rows.map(|row| row.entry(state.synced_number));
        let entries: Vec<_> = entries.collect::<Result<_, _>>()?;
        // No change is between the cursor and the newest change when there are no entries.
        let number = entries.last().map_or(history.last_number, Entry::change_number);
        Ok(FeedPart {
            entries,
            cursor: after.advanced(number, goal.unwrap_or(history.last_number)),
            last_number: history.last_number,
            next_rotation_at: state.next_rotation_at,
        })
    }
}
