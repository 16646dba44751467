//! ListRecords: pages of a person's records, by keyset, so that every page costs only what is on it.

mod due_records;

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError, TenantTx},
    deadline::Deadline,
    page::{Page, PageSize},
};
use uuid::Uuid;

use super::{
    super::calling_device::{CallerError, next_rotation},
    RecordRow, Records,
};
use crate::domain::encrypted::{
    record::Record,
    record_list::{RecordCursor, RecordListing, RecordOrder},
};

/// A page of a person's records, in the requested order.
pub struct ListedRecords {
    /// The page of records.
    pub page: Page<Record>,
    /// The time at which the next rotation of the calling device's key is due. `None` when the call names no device.
    pub next_rotation_at: Option<DateTime<Utc>>,
}

impl Records {
    /// Returns a page of the caller's records that `listing` includes, after the one at `after`, or from the first.
    /// `device` is the calling device, if the call names one.
    ///
    /// # Errors
    ///
    /// See [`CallerError`].
    pub async fn list(
        &self,
        caller: UserId,
        device: Option<Uuid>,
        listing: RecordListing,
        after: Option<RecordCursor>,
        size: PageSize,
        deadline: Deadline,
    ) -> Result<ListedRecords, CallerError> {
        let mut tx = self
            .database
            .begin("ListRecords", Context::User(caller), deadline)
            .await?;
        let next_rotation_at = next_rotation(&mut tx, caller, device).await?;
        let rows = match listing.reencryption_due {
            true => due_records::select(&mut tx, caller, listing, after, size.limit()).await?,
            false => select(&mut tx, caller, listing, after, size.limit()).await?,
        };
        tx.commit().await?;
        Ok(ListedRecords {
            page: Page::try_from_rows(rows, size)?,
            next_rotation_at,
        })
    }
}

/// Reads up to `limit` rows. A missing bound is an infinite one. It is in a subquery of its own, because an index of a
/// table with a policy may be searched only by leakproof expressions, and Postgres does not know that `coalesce` is
/// one.
async fn select(
    tx: &mut TenantTx,
    caller: UserId,
    listing: RecordListing,
    after: Option<RecordCursor>,
    limit: i64,
) -> Result<Vec<RecordRow>, DbError> {
    let ((lower_time, lower_id), (upper_time, upper_id)) = listing.bounds(after);
    let rows = match listing.order {
        RecordOrder::OldestFirst => {
            sqlx::query_as!(
                RecordRow,
                r#"
                SELECT /* ListRecords, oldest first */
                       r.id, r.encrypted_payload, r.algorithm, r.key_id, r.key_version, r.nonce, r.salt,
                    r.kdf_memory_kib, r.kdf_iterations, r.kdf_parallelism, r.version, r.device_id, r.local_timestamp,
                    r.change_number, r.open_conflicts, r.deleted_at, r.created_at, r.updated_at,
                    d.status = 'revoked' OR r.key_version < d.key_version AS "reencryption_due!",
                    (SELECT data.synced_number()) AS "synced_number!"
                FROM data.encrypted_cycle_data AS r
                JOIN data.device_key AS d ON d.user_id = r.user_id AND d.id = r.key_id
                WHERE r.user_id = $1 AND r.deleted_at IS NULL
                    AND (r.local_timestamp, r.id) > ((SELECT coalesce($2, '-infinity'::timestamptz)), $3::uuid)
                    AND (r.local_timestamp, r.id) < ((SELECT coalesce($4, 'infinity'::timestamptz)), $5::uuid)
                ORDER BY r.local_timestamp, r.id
                LIMIT $6"#,
                caller.as_uuid(),
                lower_time,
                lower_id,
                upper_time,
                upper_id,
                limit,
            )
            .fetch_all(tx)
            .await?
        }
        RecordOrder::NewestFirst => {
            sqlx::query_as!(
                RecordRow,
                r#"
                SELECT /* ListRecords, newest first */
                       r.id, r.encrypted_payload, r.algorithm, r.key_id, r.key_version, r.nonce, r.salt,
                    r.kdf_memory_kib, r.kdf_iterations, r.kdf_parallelism, r.version, r.device_id, r.local_timestamp,
                    r.change_number, r.open_conflicts, r.deleted_at, r.created_at, r.updated_at,
                    d.status = 'revoked' OR r.key_version < d.key_version AS "reencryption_due!",
                    (SELECT data.synced_number()) AS "synced_number!"
                FROM data.encrypted_cycle_data AS r
                JOIN data.device_key AS d ON d.user_id = r.user_id AND d.id = r.key_id
                WHERE r.user_id = $1 AND r.deleted_at IS NULL
                    AND (r.local_timestamp, r.id) > ((SELECT coalesce($2, '-infinity'::timestamptz)), $3::uuid)
                    AND (r.local_timestamp, r.id) < ((SELECT coalesce($4, 'infinity'::timestamptz)), $5::uuid)
                ORDER BY r.local_timestamp DESC, r.id DESC
                LIMIT $6"#,
                caller.as_uuid(),
                lower_time,
                lower_id,
                upper_time,
                upper_id,
                limit,
            )
            .fetch_all(tx)
            .await?
        }
        RecordOrder::ByChange => {
            sqlx::query_as!(
                RecordRow,
                r#"
                SELECT /* ListRecords, by change */
                       r.id, r.encrypted_payload, r.algorithm, r.key_id, r.key_version, r.nonce, r.salt,
                    r.kdf_memory_kib, r.kdf_iterations, r.kdf_parallelism, r.version, r.device_id, r.local_timestamp,
                    r.change_number, r.open_conflicts, r.deleted_at, r.created_at, r.updated_at,
                    d.status = 'revoked' OR r.key_version < d.key_version AS "reencryption_due!",
                    (SELECT data.synced_number()) AS "synced_number!"
                FROM data.encrypted_cycle_data AS r
                JOIN data.device_key AS d ON d.user_id = r.user_id AND d.id = r.key_id
                WHERE r.user_id = $1 AND r.deleted_at IS NULL AND r.change_number > $2
                    AND r.local_timestamp >= coalesce($3, '-infinity'::timestamptz)
                    AND r.local_timestamp < coalesce($4, 'infinity'::timestamptz)
                ORDER BY r.change_number
                LIMIT $5"#,
                caller.as_uuid(),
                after.map_or(0, |cursor| cursor.change_number),
                listing.from,
                listing.until,
                limit,
            )
            .fetch_all(tx)
            .await?
        }
    };
    Ok(rows)
}
