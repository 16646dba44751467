//! Pages of the records that have to be encrypted again: those under an older version of a device's key, or under the key of a
//! revoked device.
//!
//! Which records these are is known from the devices. So each statement finds the key versions that are due, from one to the next
//! in the index, reads the first records of each, and merges them: it costs as much as the page, for each key version that is
//! due, and not as much as all records. `MATERIALIZED` and `LIMIT 1` keep the planner from a plan that reads them, and
//! so does `IS NOT NULL`, which it takes for true: it would expect bounds to leave one record.

use haven_platform::{
    call::UserId,
    database::{DbError, TenantTx},
};

use super::super::row::RecordRow;
use crate::domain::encrypted::record_list::{RecordCursor, RecordListing, RecordOrder};

/// Reads up to `limit` rows.
pub(super) async fn select(
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
                WITH RECURSIVE /* ListRecords, due, oldest first */ devices AS MATERIALIZED (
                    SELECT id, key_version + (status = 'revoked')::integer AS below FROM data.device_key WHERE user_id = $1
                ), keys (key_id, below, key_version) AS (
                    SELECT d.id, d.below, (
                            SELECT min(r.key_version) FROM data.encrypted_cycle_data AS r
                            WHERE r.user_id = $1 AND r.key_id = d.id AND r.key_version < d.below AND r.deleted_at IS NULL)
                    FROM devices AS d
                    UNION ALL
                    SELECT k.key_id, k.below, (
                            SELECT min(r.key_version) FROM data.encrypted_cycle_data AS r
                            WHERE r.user_id = $1 AND r.key_id = k.key_id AND r.key_version > k.key_version
                                AND r.key_version < k.below AND r.deleted_at IS NULL)
                    FROM keys AS k WHERE k.key_version IS NOT NULL
                ), page AS (
                    SELECT p.id FROM keys AS k, LATERAL (
                        SELECT r.id, r.local_timestamp, r.change_number FROM data.encrypted_cycle_data AS r
                        WHERE r.user_id = $1 AND r.key_id = k.key_id AND r.key_version = k.key_version
                            AND r.deleted_at IS NULL
                            AND (r.local_timestamp, r.id) > ((SELECT coalesce($2, '-infinity'::timestamptz)), $3::uuid)
                            AND (r.local_timestamp, r.id) < ((SELECT coalesce($4, 'infinity'::timestamptz)), $5::uuid)
                        ORDER BY r.local_timestamp, r.id
                        LIMIT $6
                    ) AS p
                    WHERE k.key_version IS NOT NULL
                    ORDER BY p.local_timestamp, p.id
                    LIMIT $6
                )
                SELECT r.id, r.encrypted_payload, r.algorithm, r.key_id, r.key_version, r.nonce, r.salt,
                    r.kdf_memory_kib, r.kdf_iterations, r.kdf_parallelism, r.version, r.device_id, r.local_timestamp,
                    r.change_number, r.open_conflicts, r.deleted_at, r.created_at, r.updated_at,
                    true AS "reencryption_due!", (SELECT data.synced_number()) AS "synced_number!"
                FROM page CROSS JOIN LATERAL (
                    SELECT * FROM data.encrypted_cycle_data AS r WHERE r.user_id = $1 AND r.id = page.id LIMIT 1
                ) AS r
                ORDER BY r.local_timestamp, r.id"#,
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
                WITH RECURSIVE /* ListRecords, due, newest first */ devices AS MATERIALIZED (
                    SELECT id, key_version + (status = 'revoked')::integer AS below FROM data.device_key WHERE user_id = $1
                ), keys (key_id, below, key_version) AS (
                    SELECT d.id, d.below, (
                            SELECT min(r.key_version) FROM data.encrypted_cycle_data AS r
                            WHERE r.user_id = $1 AND r.key_id = d.id AND r.key_version < d.below AND r.deleted_at IS NULL)
                    FROM devices AS d
                    UNION ALL
                    SELECT k.key_id, k.below, (
                            SELECT min(r.key_version) FROM data.encrypted_cycle_data AS r
                            WHERE r.user_id = $1 AND r.key_id = k.key_id AND r.key_version > k.key_version
                                AND r.key_version < k.below AND r.deleted_at IS NULL)
                    FROM keys AS k WHERE k.key_version IS NOT NULL
                ), page AS (
                    SELECT p.id FROM keys AS k, LATERAL (
                        SELECT r.id, r.local_timestamp, r.change_number FROM data.encrypted_cycle_data AS r
                        WHERE r.user_id = $1 AND r.key_id = k.key_id AND r.key_version = k.key_version
                            AND r.deleted_at IS NULL
                            AND (r.local_timestamp, r.id) > ((SELECT coalesce($2, '-infinity'::timestamptz)), $3::uuid)
                            AND (r.local_timestamp, r.id) < ((SELECT coalesce($4, 'infinity'::timestamptz)), $5::uuid)
                        ORDER BY r.local_timestamp DESC, r.id DESC
                        LIMIT $6
                    ) AS p
                    WHERE k.key_version IS NOT NULL
                    ORDER BY p.local_timestamp DESC, p.id DESC
                    LIMIT $6
                )
                SELECT r.id, r.encrypted_payload, r.algorithm, r.key_id, r.key_version, r.nonce, r.salt,
                    r.kdf_memory_kib, r.kdf_iterations, r.kdf_parallelism, r.version, r.device_id, r.local_timestamp,
                    r.change_number, r.open_conflicts, r.deleted_at, r.created_at, r.updated_at,
                    true AS "reencryption_due!", (SELECT data.synced_number()) AS "synced_number!"
                FROM page CROSS JOIN LATERAL (
                    SELECT * FROM data.encrypted_cycle_data AS r WHERE r.user_id = $1 AND r.id = page.id LIMIT 1
                ) AS r
                ORDER BY r.local_timestamp DESC, r.id DESC"#,
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
                WITH RECURSIVE /* ListRecords, due, by change */ devices AS MATERIALIZED (
                    SELECT id, key_version + (status = 'revoked')::integer AS below FROM data.device_key WHERE user_id = $1
                ), keys (key_id, below, key_version) AS (
                    SELECT d.id, d.below, (
                            SELECT min(r.key_version) FROM data.encrypted_cycle_data AS r
                            WHERE r.user_id = $1 AND r.key_id = d.id AND r.key_version < d.below AND r.deleted_at IS NULL)
                    FROM devices AS d
                    UNION ALL
                    SELECT k.key_id, k.below, (
                            SELECT min(r.key_version) FROM data.encrypted_cycle_data AS r
                            WHERE r.user_id = $1 AND r.key_id = k.key_id AND r.key_version > k.key_version
                                AND r.key_version < k.below AND r.deleted_at IS NULL)
                    FROM keys AS k WHERE k.key_version IS NOT NULL
                ), page AS (
                    SELECT p.id FROM keys AS k, LATERAL (
                        SELECT r.id, r.local_timestamp, r.change_number FROM data.encrypted_cycle_data AS r
                        WHERE r.user_id = $1 AND r.key_id = k.key_id AND r.key_version = k.key_version
                            AND r.deleted_at IS NULL
                            AND r.change_number > $2
                            AND CASE WHEN r.local_timestamp >= coalesce($3, '-infinity'::timestamptz)
                                AND r.local_timestamp < coalesce($4, 'infinity'::timestamptz) THEN true END IS NOT NULL
                        ORDER BY r.change_number
                        LIMIT $5
                    ) AS p
                    WHERE k.key_version IS NOT NULL
                    ORDER BY p.change_number
                    LIMIT $5
                )
                SELECT r.id, r.encrypted_payload, r.algorithm, r.key_id, r.key_version, r.nonce, r.salt,
                    r.kdf_memory_kib, r.kdf_iterations, r.kdf_parallelism, r.version, r.device_id, r.local_timestamp,
                    r.change_number, r.open_conflicts, r.deleted_at, r.created_at, r.updated_at,
                    true AS "reencryption_due!", (SELECT data.synced_number()) AS "synced_number!"
                FROM page CROSS JOIN LATERAL (
                    SELECT * FROM data.encrypted_cycle_data AS r WHERE r.user_id = $1 AND r.id = page.id LIMIT 1
                ) AS r
                ORDER BY r.change_number"#,
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
