//! ExportData: reads a person's devices and the content that they encrypted: records, conflicts and preferences.
//! Nothing here decrypts it.

use haven_platform::{call::UserId, cursor::Cursor, database::DbError, deadline::Deadline};
use uuid::Uuid;

use super::{Exports, MAX_BYTES, MAX_ROWS};
use crate::{
    domain::encrypted::{
        device::Device,
        preferences::Preferences,
        record::{Conflict, Record},
    },
    store::encrypted::{
        cycle::{ConflictRow, RecordRow},
        device::DeviceRow,
        preferences::PreferencesRow,
    },
};

impl Exports {
    /// Returns a page of the caller's devices after `after`, by registration time.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn devices(
        &self,
        caller: UserId,
        after: Cursor,
        deadline: Deadline,
    ) -> Result<Vec<Device>, DbError> {
        let mut tx = self.begin(caller, deadline).await?;
        let rows = sqlx::query_as!(
            DeviceRow,
            "
            SELECT /* ExportData, devices */
                   id, platform, app_version, encrypted_master_key, key_derivation_path, key_version, next_rotation_at,
                status, last_active_at, acknowledged_number, created_at, encrypted_label
            FROM data.device_key
            WHERE user_id = $1 AND (created_at, id) > ($2, $3)
            ORDER BY created_at, id
            LIMIT $4",
            caller.as_uuid(),
            after.at,
            after.id,
            MAX_ROWS,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        rows.into_iter().map(Device::try_from).collect()
    }

    /// Returns a page of the caller's records and tombstones after the id `after`, by id. Other columns may change
    /// during the export, so no other order is stable.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn records(
        &self,
        caller: UserId,
        after: Uuid,
        deadline: Deadline,
    ) -> Result<Vec<Record>, DbError> {
        let mut tx = self.begin(caller, deadline).await?;
        let rows = sqlx::query_as!(
            RecordRow,
            r#"
            SELECT /* ExportData, records */
                   r.id AS "id!", r.encrypted_payload, r.algorithm, r.key_id, r.key_version, r.nonce, r.salt,
                r.kdf_memory_kib, r.kdf_iterations, r.kdf_parallelism, r.version AS "version!",
                r.device_id AS "device_id!", r.local_timestamp AS "local_timestamp!", r.change_number AS "change_number!",
                r.open_conflicts AS "open_conflicts!", r.deleted_at, r.created_at AS "created_at!",
                r.updated_at AS "updated_at!",
                coalesce(r.deleted_at IS NULL AND (d.status = 'revoked' OR r.key_version < d.key_version), false)
                    AS "reencryption_due!",
                (SELECT data.synced_number()) AS "synced_number!"
            FROM (
                SELECT *, sum(octet_length(encrypted_payload)) OVER (ORDER BY id) AS bytes
                FROM data.encrypted_cycle_data
                WHERE user_id = $1 AND id > $2
                ORDER BY id
                LIMIT $3
            ) AS r
                LEFT JOIN data.device_key AS d ON d.user_id = $1 AND d.id = r.key_id
            WHERE coalesce(r.bytes - octet_length(r.encrypted_payload), r.bytes, 0) < $4
            ORDER BY r.id"#,
            caller.as_uuid(),
            after,
            MAX_ROWS,
            MAX_BYTES,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        rows.into_iter().map(Record::try_from).collect()
    }

    /// Returns a page of the caller's conflicts after the id `after`, by id, which is the order of their creation.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn conflicts(
        &self,
        caller: UserId,
        after: Uuid,
        deadline: Deadline,
    ) -> Result<Vec<Conflict>, DbError> {
        let mut tx = self.begin(caller, deadline).await?;
        let rows = sqlx::query_as!(
            ConflictRow,
            r#"
            SELECT /* ExportData, conflicts */
                   id AS "id!", record_id AS "record_id!", base_version AS "base_version!", encrypted_payload, algorithm,
                key_id, key_version, nonce, salt, kdf_memory_kib, kdf_iterations, kdf_parallelism,
                device_id AS "device_id!", local_timestamp AS "local_timestamp!", change_number AS "change_number!",
                created_at AS "created_at!", settled_at
            FROM (
                SELECT *, sum(octet_length(encrypted_payload)) OVER (ORDER BY id) AS bytes
                FROM data.cycle_data_conflicts
                WHERE user_id = $1 AND id > $2
                ORDER BY id
                LIMIT $3
            ) AS page
            WHERE coalesce(bytes - octet_length(encrypted_payload), bytes, 0) < $4
            ORDER BY id"#,
            caller.as_uuid(),
            after,
            MAX_ROWS,
            MAX_BYTES,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        rows.into_iter().map(Conflict::try_from).collect()
    }

    /// Returns the caller's preferences; `None` when there are none.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn preferences(
        &self,
        caller: UserId,
        deadline: Deadline,
    ) -> Result<Option<Preferences>, DbError> {
        let mut tx = self.begin(caller, deadline).await?;
        let row = sqlx::query_as!(
            PreferencesRow,
            r#"
            SELECT /* ExportData, preferences */
                   p.encrypted_payload, p.algorithm, p.key_id, p.key_version, p.nonce, p.salt, p.kdf_memory_kib,
                p.kdf_iterations, p.kdf_parallelism, p.version, p.device_id, p.created_at, p.updated_at,
                d.status = 'revoked' OR p.key_version < d.key_version AS "reencryption_due!"
            FROM data.encrypted_user_prefs AS p
            JOIN data.device_key AS d ON d.user_id = p.user_id AND d.id = p.device_id
            WHERE p.user_id = $1"#,
            caller.as_uuid(),
        )
        .fetch_optional(&mut tx)
        .await?;
        tx.commit().await?;
        row.map(Preferences::try_from).transpose()
    }
}
