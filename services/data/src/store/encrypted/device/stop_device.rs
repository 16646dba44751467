//! SuspendDevice and RevokeDevice, which are one statement.

use haven_platform::{call::UserId, database::DbError, deadline::Deadline, request_key::RequestKey};

use super::{
    Devices,
    changed_row::{ChangedRow, DeviceChangeError},
};
use crate::domain::encrypted::{device::Device, device_change::DeviceStop};

impl Devices {
    /// Suspends or revokes a device of the caller, unless it is already. Changes nothing, and returns the first answer
    /// again, when `request` did so before.
    ///
    /// # Errors
    ///
    /// See [`DeviceChangeError`]. Nothing was changed, except possibly when the database failed: a retry finds out.
    pub async fn stop(
        &self,
        caller: UserId,
        stop: DeviceStop,
        request: RequestKey,
        deadline: Deadline,
    ) -> Result<Device, DeviceChangeError> {
        let mut tx = self.begin_change(stop.kind.method(), caller, deadline).await?;
        let row = sqlx::query_as!(
            ChangedRow,
            r#"
            WITH /* SuspendDevice, RevokeDevice */ prior AS (
                SELECT method, payload_mac, answer FROM data.requests WHERE user_id = $1 AND id = $2
            ), held AS (
                SELECT encrypted_master_key, key_derivation_path, key_version, next_rotation_at, status, platform,
                    app_version, last_active_at, acknowledged_number, created_at, encrypted_label
                FROM data.device_key WHERE user_id = $1 AND id = $5
            ), stopped AS (
                UPDATE data.device_key
                SET status = $6, encrypted_master_key = CASE WHEN $6 <> 'revoked' THEN encrypted_master_key END
                WHERE user_id = $1 AND id = $5 AND status <> 'revoked' AND status <> $6 AND NOT EXISTS (SELECT FROM prior)
                RETURNING id
            ), counted AS (
                UPDATE data.change_counters SET live_devices = live_devices - 1
                WHERE user_id = $1 AND $6 = 'revoked' AND EXISTS (SELECT FROM stopped)
            ), event AS (
                INSERT INTO data.security_audit_log (user_id, event, subject_id, occurred_at)
                SELECT $1, 'device_' || $6, id, $7 FROM stopped
            ), request AS (
                INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
                SELECT $1, $2, $3, ($4::bytea[])[1],
                    jsonb_build_object(
                        'device_id', $5::uuid, 'status', $6::text, 'key_version', key_version,
                        'key_derivation_path', key_derivation_path, 'next_rotation_at', next_rotation_at,
                        'last_active_at', last_active_at, 'acknowledged_number', acknowledged_number,
                        'encrypted_label', encode(encrypted_label, 'base64'))
                        -- A stop that has an effect is not refused by limits.
                        || CASE WHEN EXISTS (SELECT FROM stopped) THEN '{"stopped": true}' ELSE '{}' END::jsonb,
                    $7
                FROM held WHERE (status <> 'revoked' OR $6 = 'revoked') AND NOT EXISTS (SELECT FROM prior)
                RETURNING answer
            ), done AS (
                SELECT 'done' AS outcome, answer FROM request
                UNION ALL
                SELECT CASE WHEN payload_mac = ANY ($4) AND method = $3 THEN 'done' ELSE 'reused' END, answer FROM prior
            )
            SELECT coalesce(done.outcome, held.status, 'not_found') AS "outcome!", NULL::integer AS current_version,
                -- Of another version it would be another key.
                CASE WHEN $6 <> 'revoked' AND held.key_version = (answer ->> 'key_version')::integer
                    THEN held.encrypted_master_key END AS encrypted_master_key,
                answer ->> 'status' AS status,
                answer ->> 'key_derivation_path' AS key_derivation_path,
                (answer ->> 'key_version')::integer AS key_version,
                (answer ->> 'next_rotation_at')::timestamptz AS next_rotation_at,
                (answer ->> 'last_active_at')::timestamptz AS last_active_at,
                (answer ->> 'acknowledged_number')::bigint AS acknowledged_number,
                held.platform AS "platform?", held.app_version AS "app_version?", held.created_at AS "created_at?",
                decode(answer ->> 'encrypted_label', 'base64') AS encrypted_label
            FROM (VALUES (true)) AS always LEFT JOIN done ON true LEFT JOIN held ON true"#,
            caller.as_uuid(),
            request.id,
            stop.kind.method(),
            &request.payload_macs.to_vecs() as &[Vec<u8>],
            stop.id,
            stop.kind.status().name(),
            stop.at,
        )
        .fetch_one(&mut tx)
        .await
        .map_err(DbError::from)?;
        row.check_found(&mut tx, caller).await?;
        tx.commit().await?;
        row.device(stop.id)
    }
}
