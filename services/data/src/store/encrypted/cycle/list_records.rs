//! Pages of records, by keyset: a page costs what is on it, wherever among the records it is.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError, TenantTx},
    deadline::Deadline,
    page::PageSize,
};
use uuid::Uuid;

use super::{
    super::calling_device::{CallerError, next_rotation},
    get_record::Records,
    row::RecordRow,
};
use crate::domain::encrypted::{
    record::Record,
    record_list::{RecordCursor, RecordListing, RecordOrder},
};

/// Some of a person's records.
pub struct RecordPage {
    /// In the order that was asked for.
    pub records: Vec<Record>,
    /// Whether there are more after them.
    pub more: bool,
    /// When the next rotation of the calling device's key is due. None: the call names no device.
    pub next_rotation_at: Option<DateTime<Utc>>,
}

impl Records {
    /// The caller's records that `listing` shows: at most `size`, from the one after `after`, or from the first. For
    /// `device`, if the call names one.
    ///
    /// # Errors
    ///
    /// See [`CallerError`].
    pub async fn list(
        &self,
        caller: UserId,
        deadline: Deadline,
        listing: RecordListing,
        after: Option<RecordCursor>,
        size: PageSize,
        device: Option<Uuid>,
    ) -> Result<RecordPage, CallerError> {
        let size = usize::from(size.get());
        let mut tx = self
            .database
            .begin("ListRecords", Context::User(caller), deadline)
            .await?;
        let next_rotation_at = next_rotation(&mut tx, caller, device).await?;
        let mut rows = Vec::new();
        if !listing.reencryption_due || any_due(&mut tx, caller).await? {
            // One more than asked for shows whether there is a next page.
            rows = page(&mut tx, caller, listing, after, size as i64 + 1).await?;
        }
        tx.commit().await?;
        let more = rows.len() > size;
        rows.truncate(size);
        let records = rows.into_iter().map(Record::try_from);
        Ok(RecordPage {
            records: records.collect::<Result<_, _>>()?,
            more,
            next_rotation_at,
        })
    }
}

/// Whether any of the caller's records is to be encrypted anew. Mostly none is, and an index says so at once; a page
/// would look at all records in vain.
async fn any_due(tx: &mut TenantTx, caller: UserId) -> Result<bool, DbError> {
    let due = sqlx::query_scalar!(
        r#"/* ListRecords, whether any is due */
        SELECT EXISTS (
            SELECT FROM data.device_key AS d
            WHERE d.user_id = $1 AND CASE d.status WHEN 'revoked' THEN d.key_version ELSE d.key_version - 1 END >= (
                SELECT min(r.key_version) FROM data.encrypted_cycle_data AS r
                WHERE r.user_id = $1 AND r.key_id = d.id AND r.deleted_at IS NULL)
        ) AS "due!""#,
        caller.as_uuid(),
    )
    .fetch_one(tx)
    .await?;
    Ok(due)
}

/// The records themselves. A bound that is not there is one without end; it is a subquery of its own, because a
/// policy's index may be searched only by what cannot leak, and Postgres does not know that `coalesce` cannot.
async fn page(
    tx: &mut TenantTx,
    caller: UserId,
    listing: RecordListing,
    after: Option<RecordCursor>,
    limit: i64,
) -> Result<Vec<RecordRow>, DbError> {
    let place = after.map(|place| (place.local_time, place.id));
    // No id is less than the nil UUID: with it a time is a place before everything that happened then.
    let at = |time: Option<DateTime<Utc>>| time.map(|time| (time, Uuid::nil()));
    let (lower, upper) = match listing.order {
        RecordOrder::OldestFirst => (place.or(at(listing.from)), at(listing.until)),
        RecordOrder::NewestFirst => (at(listing.from), place.or(at(listing.until))),
        RecordOrder::ByChange => (at(listing.from), at(listing.until)),
    };
    let ((lower_time, lower_id), (upper_time, upper_id)) = (lower.unzip(), upper.unzip());
    let rows = match listing.order {
        RecordOrder::OldestFirst => {
            sqlx::query_as!(
                RecordRow,
                r#"/* ListRecords, oldest first */
                SELECT r.id, r.encrypted_payload, r.algorithm, r.key_id, r.key_version, r.nonce, r.salt,
                    r.kdf_memory_kib, r.kdf_iterations, r.kdf_parallelism, r.version, r.device_id, r.local_timestamp,
                    r.change_number, r.open_conflicts, r.deleted_at, r.created_at, r.updated_at,
                    d.status = 'revoked' OR r.key_version < d.key_version AS "reencryption_due!",
                    (SELECT data.synced_number()) AS "synced_number!"
                FROM data.encrypted_cycle_data AS r
                JOIN data.device_key AS d ON d.user_id = r.user_id AND d.id = r.key_id
                WHERE r.user_id = $1 AND r.deleted_at IS NULL
                    AND (r.local_timestamp, r.id) > ((SELECT coalesce($2, '-infinity'::timestamptz)), $3::uuid)
                    AND (r.local_timestamp, r.id) < ((SELECT coalesce($4, 'infinity'::timestamptz)), $5::uuid)
                    AND (NOT $6 OR d.status = 'revoked' OR r.key_version < d.key_version)
                ORDER BY r.local_timestamp, r.id
                LIMIT $7"#,
                caller.as_uuid(),
                lower_time,
                lower_id.unwrap_or_default(),
                upper_time,
                upper_id.unwrap_or_default(),
                listing.reencryption_due,
                limit,
            )
            .fetch_all(tx)
            .await?
        }
        RecordOrder::NewestFirst => {
            sqlx::query_as!(
                RecordRow,
                r#"/* ListRecords, newest first */
                SELECT r.id, r.encrypted_payload, r.algorithm, r.key_id, r.key_version, r.nonce, r.salt,
                    r.kdf_memory_kib, r.kdf_iterations, r.kdf_parallelism, r.version, r.device_id, r.local_timestamp,
                    r.change_number, r.open_conflicts, r.deleted_at, r.created_at, r.updated_at,
                    d.status = 'revoked' OR r.key_version < d.key_version AS "reencryption_due!",
                    (SELECT data.synced_number()) AS "synced_number!"
                FROM data.encrypted_cycle_data AS r
                JOIN data.device_key AS d ON d.user_id = r.user_id AND d.id = r.key_id
                WHERE r.user_id = $1 AND r.deleted_at IS NULL
                    AND (r.local_timestamp, r.id) > ((SELECT coalesce($2, '-infinity'::timestamptz)), $3::uuid)
                    AND (r.local_timestamp, r.id) < ((SELECT coalesce($4, 'infinity'::timestamptz)), $5::uuid)
                    AND (NOT $6 OR d.status = 'revoked' OR r.key_version < d.key_version)
                ORDER BY r.local_timestamp DESC, r.id DESC
                LIMIT $7"#,
                caller.as_uuid(),
                lower_time,
                lower_id.unwrap_or_default(),
                upper_time,
                upper_id.unwrap_or_default(),
                listing.reencryption_due,
                limit,
            )
            .fetch_all(tx)
            .await?
        }
        RecordOrder::ByChange => {
            sqlx::query_as!(
                RecordRow,
                r#"/* ListRecords, by change */
                SELECT r.id, r.encrypted_payload, r.algorithm, r.key_id, r.key_version, r.nonce, r.salt,
                    r.kdf_memory_kib, r.kdf_iterations, r.kdf_parallelism, r.version, r.device_id, r.local_timestamp,
                    r.change_number, r.open_conflicts, r.deleted_at, r.created_at, r.updated_at,
                    d.status = 'revoked' OR r.key_version < d.key_version AS "reencryption_due!",
                    (SELECT data.synced_number()) AS "synced_number!"
                FROM data.encrypted_cycle_data AS r
                JOIN data.device_key AS d ON d.user_id = r.user_id AND d.id = r.key_id
                WHERE r.user_id = $1 AND r.deleted_at IS NULL AND r.change_number > $2
                    AND r.local_timestamp >= coalesce($3, '-infinity'::timestamptz)
                    AND r.local_timestamp < coalesce($4, 'infinity'::timestamptz)
                    AND (NOT $5 OR d.status = 'revoked' OR r.key_version < d.key_version)
                ORDER BY r.change_number
                LIMIT $6"#,
                caller.as_uuid(),
                after.map_or(0, |place| place.change_number),
                listing.from,
                listing.until,
                listing.reencryption_due,
                limit,
            )
            .fetch_all(tx)
            .await?
        }
    };
    Ok(rows)
}
