//! PullChanges and WatchChanges: reads the feed of a person's changes, one part at a time.
//!
//! A part is read by one statement, so by one snapshot: the purged number, the last number and the entries between them
//! are consistent. Numbers become visible in order, because a transaction that assigns one holds the lock on the
//! person's counter until it commits.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
};
use thiserror::Error;
use uuid::Uuid;

use super::{
    super::calling_device::{CallerError, check_active, no_device},
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
        let mut tx = self
            .database
            .begin("ReadChanges", Context::User(caller), deadline)
            .await?;
        // The limits are literals: with a parameter, Postgres would read and sort all of a person's changes.
        let rows = sqlx::query_as!(
            FeedRow,
            r#"
            WITH /* ReadChanges */ state AS MATERIALIZED (
                SELECT data.sync_epoch() AS epoch, data.synced_number() AS synced_number, c.last_number, c.purged_number,
                    d.status, d.next_rotation_at
                FROM data.device_key AS d JOIN data.change_counters AS c ON c.user_id = d.user_id
                WHERE d.user_id = $1 AND d.id = $2
            ), changes AS (
                (SELECT r.change_number, r.id, NULL::uuid AS record_id, r.version, r.encrypted_payload, r.algorithm,
                    r.key_id, r.key_version, r.nonce, r.salt, r.kdf_memory_kib, r.kdf_iterations, r.kdf_parallelism,
                    r.device_id, r.local_timestamp, r.open_conflicts, r.deleted_at, r.created_at, r.updated_at
                FROM data.encrypted_cycle_data AS r
                WHERE r.user_id = $1 AND r.change_number > $3
                ORDER BY r.change_number LIMIT 100)
                UNION ALL
                (SELECT k.change_number, k.id, k.record_id, k.base_version, k.encrypted_payload, k.algorithm,
                    k.key_id, k.key_version, k.nonce, k.salt, k.kdf_memory_kib, k.kdf_iterations, k.kdf_parallelism,
                    k.device_id, k.local_timestamp, NULL, k.settled_at, k.created_at, NULL
                FROM data.cycle_data_conflicts AS k
                WHERE k.user_id = $1 AND k.change_number > $3
                ORDER BY k.change_number LIMIT 100)
                ORDER BY change_number LIMIT 100
            ), part AS (
                SELECT changes.*, coalesce(sum(octet_length(changes.encrypted_payload)) OVER (
                    ORDER BY changes.change_number ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS bytes_before
                FROM changes
            )
            SELECT state.epoch AS "epoch!", state.synced_number AS "synced_number!", state.last_number AS "last_number!",
                state.purged_number AS "purged_number!", state.status AS "status!",
                state.next_rotation_at AS "next_rotation_at!", part.change_number AS "change_number?", part.id AS "id?",
                part.record_id AS "record_id?", part.version AS "version?", part.encrypted_payload, part.algorithm,
                part.key_id, part.key_version, part.nonce, part.salt, part.kdf_memory_kib, part.kdf_iterations,
                part.kdf_parallelism, part.device_id AS "device_id?", part.local_timestamp AS "local_timestamp?",
                part.open_conflicts AS "open_conflicts?", part.deleted_at, part.created_at AS "created_at?",
                part.updated_at AS "updated_at?",
                (d.status = 'revoked' OR part.key_version < d.key_version) AS "reencryption_due?"
            FROM state
                LEFT JOIN part ON part.bytes_before < $4
                LEFT JOIN data.device_key AS d ON d.user_id = $1 AND d.id = part.key_id
            ORDER BY part.change_number"#,
            caller.as_uuid(),
            device,
            after.map_or(0, |after| after.number),
            PART_BYTES,
        )
        .fetch_all(&mut tx)
        .await
        .map_err(DbError::from)?;
        let Some(first) = rows.first() else {
            return Err(no_device(&mut tx, caller).await.into());
        };
        check_active(&first.status)?;
        tx.commit().await?;
        let history = first.history();
        let after = after.unwrap_or_else(|| history.start());
        history
            .check_complete_after(after)
            .map_err(FeedError::CursorExpired)?;
        let next_rotation_at = first.next_rotation_at;
        let entries = rows.into_iter().map(FeedRow::entry);
        let entries: Vec<_> = entries.filter_map(Result::transpose).collect::<Result<_, _>>()?;
        // No change is between the cursor and the newest change when there are no entries.
        let number = entries.last().map_or(history.last_number, Entry::change_number);
        Ok(FeedPart {
            entries,
            cursor: after.advanced(number, goal.unwrap_or(history.last_number)),
            last_number: history.last_number,
            next_rotation_at,
        })
    }
}
