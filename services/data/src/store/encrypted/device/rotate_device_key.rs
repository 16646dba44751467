//! What is done to a device: its key is rotated, it is suspended, it is revoked; each once.
//!
//! All of them wait for the person's counter before they look for anything, as whoever changes a record does. So nobody
//! uses a key while it is rotated, and the same request, sent twice at once, finds its own answer.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError, TenantTx},
    deadline::Deadline,
};
use thiserror::Error;
use uuid::Uuid;

use super::{
    super::calling_device::{CallerError, no_device},
    DeviceRow, Devices,
};
use crate::{
    domain::encrypted::device::{Device, DeviceStatus, KeyPath, WrappedKey},
    store::request::RequestKey,
};

/// A new key for a device.
pub struct Rotation {
    /// The device's id.
    pub id: Uuid,
    /// The version of the key that the rotation is based on.
    pub expected_key_version: i32,
    /// The person's master key, as the device wrapped it now.
    pub wrapped_key: WrappedKey,
    /// How the new key is derived from that one.
    pub key_path: KeyPath,
    /// When it is rotated.
    pub at: DateTime<Utc>,
}

/// That a device is to do nothing any more.
#[derive(Clone, Copy, Debug)]
pub struct Stop {
    /// The device's id.
    pub id: Uuid,
    /// For how long.
    pub how: Stopping,
    /// When it is stopped.
    pub at: DateTime<Utc>,
}

/// For how long a device is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopping {
    /// Until its key is rotated.
    Suspend,
    /// For ever.
    Revoke,
}

/// Why nothing was done to a device.
#[derive(Debug, Error)]
pub enum DeviceChangeError {
    /// There is no such device, or the database failed.
    #[error(transparent)]
    Caller(CallerError),
    /// It is revoked, and that is for ever.
    #[error("the device is revoked")]
    Revoked,
    /// Its key has another version than the rotation is based on.
    #[error("the key has version {current}")]
    VersionConflict {
        /// The version that it has.
        current: i32,
    },
    /// The request id belongs to a request with other content.
    #[error("the request id belongs to another request")]
    RequestIdReused,
}

// === impl Devices ===

impl Devices {
    /// Gives a device of `caller` another key; or, when `request` did so before, changes nothing and answers as it was
    /// answered then.
    ///
    /// # Errors
    ///
    /// See [`DeviceChangeError`]. Nothing was changed then, unless it was the database that failed: a retry finds out.
    pub async fn rotate(
        &self,
        caller: UserId,
        deadline: Deadline,
        rotation: Rotation,
        request: RequestKey,
    ) -> Result<Device, DeviceChangeError> {
        let mut tx = self.turn("RotateDeviceKey", caller, deadline).await?;
        let row = sqlx::query_as!(
            ChangedRow,
            r#"/* RotateDeviceKey */
            WITH prior AS (
                SELECT method, payload_mac, answer FROM data.requests WHERE user_id = $1 AND id = $2
            ), held AS (
                SELECT platform, app_version, acknowledged_number, created_at
                FROM data.device_key WHERE user_id = $1 AND id = $4
            ), rotated AS MATERIALIZED (
                SELECT made.outcome, made.key_version, made.next_rotation_at
                FROM (SELECT WHERE NOT EXISTS (SELECT FROM prior)) AS first_time
                    CROSS JOIN LATERAL data.rotate_device_key($4, $5, $6, $7, $8) AS made
            ), request AS (
                INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
                SELECT $1, $2, 'RotateDeviceKey', $3,
                    jsonb_build_object(
                        'device_id', $4::uuid, 'status', 'active', 'key_version', key_version,
                        'key_derivation_path', $7::text, 'next_rotation_at', next_rotation_at,
                        'last_active_at', $8::timestamptz, 'acknowledged_number', acknowledged_number),
                    $8
                FROM rotated, held WHERE outcome = 'rotated'
                RETURNING answer
            ), done AS (
                SELECT 'done' AS outcome, NULL::integer AS current_version, answer FROM request
                UNION ALL
                SELECT outcome, key_version, NULL FROM rotated WHERE outcome <> 'rotated'
                UNION ALL
                SELECT CASE WHEN payload_mac = $3 AND method = 'RotateDeviceKey' THEN 'done' ELSE 'reused' END, NULL, answer
                FROM prior
            )
            SELECT outcome AS "outcome!", current_version, $6 AS encrypted_master_key,
                answer ->> 'status' AS status,
                answer ->> 'key_derivation_path' AS key_derivation_path,
                (answer ->> 'key_version')::integer AS key_version,
                (answer ->> 'next_rotation_at')::timestamptz AS next_rotation_at,
                (answer ->> 'last_active_at')::timestamptz AS last_active_at,
                (answer ->> 'acknowledged_number')::bigint AS acknowledged_number,
                held.platform AS "platform?", held.app_version AS "app_version?", held.created_at AS "created_at?"
            FROM done LEFT JOIN held ON true"#,
            caller.as_uuid(),
            request.id,
            &request.payload_mac,
            rotation.id,
            rotation.expected_key_version,
            rotation.wrapped_key.as_bytes(),
            rotation.key_path.as_str(),
            rotation.at,
        )
        .fetch_one(&mut tx)
        .await
        .map_err(DbError::from)?;
        row.found(&mut tx, caller).await?;
        tx.commit().await?;
        row.device(rotation.id)
    }

    /// Stops a device of `caller`, unless it is stopped so; or, when `request` did so before, changes nothing and
    /// answers as it was answered then.
    ///
    /// # Errors
    ///
    /// See [`DeviceChangeError`]. Nothing was changed then, unless it was the database that failed: a retry finds out.
    pub async fn stop(
        &self,
        caller: UserId,
        deadline: Deadline,
        stop: Stop,
        request: RequestKey,
    ) -> Result<Device, DeviceChangeError> {
        let mut tx = self.turn(stop.how.method(), caller, deadline).await?;
        let row = sqlx::query_as!(
            ChangedRow,
            r#"/* SuspendDevice, RevokeDevice */
            WITH prior AS (
                SELECT method, payload_mac, answer FROM data.requests WHERE user_id = $1 AND id = $2
            ), held AS (
                SELECT encrypted_master_key, key_derivation_path, key_version, next_rotation_at, status, platform,
                    app_version, last_active_at, acknowledged_number, created_at
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
                SELECT $1, $2, $3, $4,
                    jsonb_build_object(
                        'device_id', $5::uuid, 'status', $6::text, 'key_version', key_version,
                        'key_derivation_path', key_derivation_path, 'next_rotation_at', next_rotation_at,
                        'last_active_at', last_active_at, 'acknowledged_number', acknowledged_number),
                    $7
                FROM held WHERE (status <> 'revoked' OR $6 = 'revoked') AND NOT EXISTS (SELECT FROM prior)
                RETURNING answer
            ), done AS (
                SELECT 'done' AS outcome, answer FROM request
                UNION ALL
                SELECT CASE WHEN payload_mac = $4 AND method = $3 THEN 'done' ELSE 'reused' END, answer FROM prior
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
                held.platform AS "platform?", held.app_version AS "app_version?", held.created_at AS "created_at?"
            FROM (VALUES (true)) AS always LEFT JOIN done ON true LEFT JOIN held ON true"#,
            caller.as_uuid(),
            request.id,
            stop.how.method(),
            &request.payload_mac,
            stop.id,
            stop.how.status().name(),
            stop.at,
        )
        .fetch_one(&mut tx)
        .await
        .map_err(DbError::from)?;
        row.found(&mut tx, caller).await?;
        tx.commit().await?;
        row.device(stop.id)
    }

    /// Begins a transaction of `caller`, and waits until it is its turn to change something. Who has no counter has no
    /// device.
    async fn turn(
        &self,
        method: &'static str,
        caller: UserId,
        deadline: Deadline,
    ) -> Result<TenantTx, DbError> {
        let mut tx = self
            .database
            .begin(method, Context::User(caller), deadline)
            .await?;
        sqlx::query!(
            "/* whose turn it is to change devices */
            SELECT FROM data.change_counters WHERE user_id = $1 FOR NO KEY UPDATE",
            caller.as_uuid(),
        )
        .execute(&mut tx)
        .await?;
        Ok(tx)
    }
}

impl Stopping {
    /// The method that does so.
    #[must_use]
    pub fn method(self) -> &'static str {
        match self {
            Self::Suspend => "SuspendDevice",
            Self::Revoke => "RevokeDevice",
        }
    }

    fn status(self) -> DeviceStatus {
        match self {
            Self::Suspend => DeviceStatus::Suspended,
            Self::Revoke => DeviceStatus::Revoked,
        }
    }
}

/// What was done to a device, or why nothing was; and the device as it was answered the first time.
struct ChangedRow {
    outcome: String,
    current_version: Option<i32>,
    encrypted_master_key: Option<Vec<u8>>,
    status: Option<String>,
    key_derivation_path: Option<String>,
    key_version: Option<i32>,
    next_rotation_at: Option<DateTime<Utc>>,
    last_active_at: Option<DateTime<Utc>>,
    acknowledged_number: Option<i64>,
    platform: Option<String>,
    app_version: Option<String>,
    created_at: Option<DateTime<Utc>>,
}

impl ChangedRow {
    /// Fails where the caller of `tx` has no such device.
    async fn found(&self, tx: &mut TenantTx, caller: UserId) -> Result<(), DeviceChangeError> {
        match self.outcome.as_str() {
            "not_found" => Err(DeviceChangeError::Caller(no_device(tx, caller).await)),
            _ => Ok(()),
        }
    }

    fn device(self, id: Uuid) -> Result<Device, DeviceChangeError> {
        match (self.outcome.as_str(), self.current_version) {
            ("done", _) => {}
            ("reused", _) => return Err(DeviceChangeError::RequestIdReused),
            ("revoked", _) => return Err(DeviceChangeError::Revoked),
            ("stale", Some(current)) => return Err(DeviceChangeError::VersionConflict { current }),
            _ => return Err(DbError::unexpected("what was done to a device").into()),
        }
        let row = || {
            Some(DeviceRow {
                id,
                platform: self.platform?,
                app_version: self.app_version?,
                encrypted_master_key: self.encrypted_master_key,
                key_derivation_path: self.key_derivation_path?,
                key_version: self.key_version?,
                next_rotation_at: self.next_rotation_at?,
                status: self.status?,
                last_active_at: self.last_active_at?,
                acknowledged_number: self.acknowledged_number?,
                created_at: self.created_at?,
            })
        };
        let row = row().ok_or_else(|| DbError::unexpected("the answer of a request"))?;
        Ok(Device::try_from(row)?)
    }
}

impl From<DbError> for DeviceChangeError {
    fn from(error: DbError) -> Self {
        match error.constraint() {
            // A request of the same method waits its turn, and sees this one. So it is one of another method.
            Some("requests_pkey") => Self::RequestIdReused,
            _ => Self::Caller(error.into()),
        }
    }
}
