//! RotateDeviceKey.

use haven_platform::{call::UserId, database::DbError, deadline::Deadline, request_key::RequestKey};

use super::{
    Devices,
    changed_row::{ChangedRow, DeviceChangeError},
};
use crate::domain::encrypted::{
    device::{Device, EncryptedLabel},
    device_change::KeyRotation,
};

impl Devices {
    /// Rotates the key of a device of the caller. Changes nothing, and returns the first answer again, when `request`
    /// did so before.
    ///
    /// # Errors
    ///
    /// See [`DeviceChangeError`]. Nothing was changed, except possibly when the database failed: a retry finds out.
    pub async fn rotate(
        &self,
        caller: UserId,
        rotation: KeyRotation,
        request: RequestKey,
        deadline: Deadline,
    ) -> Result<Device, DeviceChangeError> {
        let mut tx = self.begin_change("RotateDeviceKey", caller, deadline).await?;
        let row = sqlx::query_as!(
            ChangedRow,
            r#"
            WITH /* RotateDeviceKey */ prior AS (
                SELECT method, payload_mac, answer FROM data.requests WHERE user_id = $1 AND id = $2
            ), held AS (
                SELECT platform, app_version, acknowledged_number, created_at,
                    coalesce($9, encrypted_label) AS encrypted_label
                FROM data.device_key WHERE user_id = $1 AND id = $4
            ), rotated AS MATERIALIZED (
                SELECT made.outcome, made.key_version, made.next_rotation_at
                FROM (SELECT WHERE NOT EXISTS (SELECT FROM prior)) AS first_time
                    CROSS JOIN LATERAL data.rotate_device_key($4, $5, $6, $7, $8) AS made
            ), request AS (
                INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
                SELECT $1, $2, 'RotateDeviceKey', ($3::bytea[])[1],
                    jsonb_build_object(
                        'device_id', $4::uuid, 'status', 'active', 'key_version', key_version,
                        'key_derivation_path', $7::text, 'next_rotation_at', next_rotation_at,
                        'last_active_at', $8::timestamptz, 'acknowledged_number', acknowledged_number,
                        'encrypted_label', encode(encrypted_label, 'base64')),
                    $8
                FROM rotated, held WHERE outcome = 'rotated'
                RETURNING answer
            ), done AS (
                SELECT 'done' AS outcome, NULL::integer AS current_version, answer FROM request
                UNION ALL
                SELECT outcome, key_version, NULL FROM rotated WHERE outcome <> 'rotated'
                UNION ALL
                SELECT CASE WHEN payload_mac = ANY ($3) AND method = 'RotateDeviceKey' THEN 'done' ELSE 'reused' END, NULL, answer
                FROM prior
            )
            SELECT outcome AS "outcome!", current_version, $6 AS encrypted_master_key,
                answer ->> 'status' AS status,
                answer ->> 'key_derivation_path' AS key_derivation_path,
                (answer ->> 'key_version')::integer AS key_version,
                (answer ->> 'next_rotation_at')::timestamptz AS next_rotation_at,
                (answer ->> 'last_active_at')::timestamptz AS last_active_at,
                (answer ->> 'acknowledged_number')::bigint AS acknowledged_number,
                held.platform AS "platform?", held.app_version AS "app_version?", held.created_at AS "created_at?",
                decode(answer ->> 'encrypted_label', 'base64') AS encrypted_label
            FROM done LEFT JOIN held ON true"#,
            caller.as_uuid(),
            request.id,
            &request.payload_macs.to_vecs() as &[Vec<u8>],
            rotation.id,
            rotation.expected_key_version,
            rotation.wrapped_key.as_bytes(),
            rotation.key_path.as_str(),
            rotation.at,
            rotation.label.as_ref().map(EncryptedLabel::as_bytes),
        )
        .fetch_one(&mut tx)
        .await
        .map_err(DbError::from)?;
        row.check_found(&mut tx, caller).await?;
        if let (Some(label), Some(key_version)) = (&rotation.label, row.key_version) {
            // The retry of an earlier rotation does not bring an earlier label back.
            sqlx::query!(
                "
                UPDATE /* RotateDeviceKey, label */
                       data.device_key SET encrypted_label = $4
                WHERE user_id = $1 AND id = $2 AND key_version = $3 AND status <> 'revoked'
                    AND encrypted_label IS DISTINCT FROM $4",
                caller.as_uuid(),
                rotation.id,
                key_version,
                label.as_bytes(),
            )
            .execute(&mut tx)
            .await
            .map_err(DbError::from)?;
        }
        tx.commit().await?;
        row.device(rotation.id)
    }
}
