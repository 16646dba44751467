//! The feed of a person's changes, as their devices read it: a part at a time.
//!
//! A part is read by one statement, so by one snapshot: what is gone, what is the newest and what is in between belong
//! together. Numbers become visible in order, because whoever gives one out holds the person's counter until they
//! commit.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
};
use thiserror::Error;
use uuid::Uuid;

use super::{
    super::calling_device::{CallerError, active, no_device},
    Changes,
    feed_row::FeedRow,
};
use crate::domain::encrypted::feed::{Entry, Expiry, SyncCursor};

/// How many bytes of payloads a part has before its last entry, at most. It is what one watch costs in memory, and
/// with the envelopes and the last payload it is well within an answer.
const BYTES_AT_ONCE: i64 = 1024 * 1024;

/// A part of the feed.
pub struct FeedPart {
    /// What changed, by number, upwards.
    pub entries: Vec<Entry>,
    /// Where to go on.
    pub place: SyncCursor,
    /// The number of the newest change of all.
    pub last_number: i64,
    /// When the next rotation of the key of the device that reads is due.
    pub next_rotation_at: DateTime<Utc>,
}

/// Why a device is not told what changed.
#[derive(Debug, Error)]
pub enum FeedError {
    /// It may not call, or the database failed.
    #[error(transparent)]
    Caller(#[from] CallerError),
    /// It cannot go on from where it was.
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
    /// What changed after `after`, or everything that is kept, as far as it fits into a part. `device` is the one that
    /// reads.
    ///
    /// # Errors
    ///
    /// See [`FeedError`].
    pub async fn read(
        &self,
        caller: UserId,
        deadline: Deadline,
        device: Uuid,
        after: Option<SyncCursor>,
    ) -> Result<FeedPart, FeedError> {
        let mut tx = self
            .database
            .begin("ReadChanges", Context::User(caller), deadline)
            .await?;
        // The limits are written out: for a number that it does not know, Postgres reads and sorts all that a person
        // has.
        let rows = sqlx::query_as!(
            FeedRow,
            r#"/* ReadChanges */
            WITH state AS MATERIALIZED (
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
            BYTES_AT_ONCE,
        )
        .fetch_all(&mut tx)
        .await
        .map_err(DbError::from)?;
        let Some(first) = rows.first() else {
            return Err(no_device(&mut tx, caller).await.into());
        };
        active(&first.status)?;
        tx.commit().await?;
        let history = first.history();
        let after = after.unwrap_or_else(|| history.start());
        history.continues(after).map_err(FeedError::CursorExpired)?;
        let next_rotation_at = first.next_rotation_at;
        let entries = rows.into_iter().map(FeedRow::entry);
        let entries: Vec<_> = entries.filter_map(Result::transpose).collect::<Result<_, _>>()?;
        // Where there is nothing more, there is nothing up to the newest.
        let number = entries.last().map_or(history.last_number, Entry::change_number);
        Ok(FeedPart {
            entries,
            place: SyncCursor { number, ..after },
            last_number: history.last_number,
            next_rotation_at,
        })
    }
}
