//! RegisterDevice.
//!
//! Registrations of one person are serialized by the person's counter: it counts the devices, and stays locked until
//! the transaction ends.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError, TenantTx},
    deadline::Deadline,
    request_key::RequestKey,
};
use thiserror::Error;
use uuid::Uuid;

use super::Devices;
use crate::{
    domain::encrypted::device_change::NewDevice,
    store::{
        person_status::{self, Unknown},
        request::{breaks, id_taken, retry_once},
    },
};

/// The part of the answer that is decided when a device is registered; a retry of the request gets it again. The rest
/// of the answer is in the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The id of the registered device.
    pub id: Uuid,
    /// The time at which the first rotation of the device's key is due.
    pub next_rotation_at: DateTime<Utc>,
    /// The time of registration.
    pub created_at: DateTime<Utc>,
}

/// A limit on the number of a person's devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// 10 devices that are not revoked.
    Live,
    /// 100 devices in total, including revoked ones.
    Total,
}

/// The reason why a device was not registered.
#[derive(Debug, Error)]
pub enum RegisterError {
    /// The person is not provisioned, or was erased.
    #[error(transparent)]
    Unknown(#[from] Unknown),
    /// The person has a device with this id, or one with this installation id that is not revoked.
    #[error("the device exists")]
    DeviceExists,
    /// The person has reached a limit.
    #[error("the person has too many devices: {0:?}")]
    QuotaExceeded(Quota),
    /// The request id belongs to a request with other content.
    #[error("the request id belongs to another request")]
    RequestIdReused,
    /// The database failed, or did not answer before the deadline.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// The constraints that make the devices of a person unique.
const DEVICE_KEYS: [&str; 2] = ["device_key_pkey", "device_key_device_id_hash_key"];

// === impl Devices ===

impl Devices {
    /// Registers a device of the caller. Changes nothing, and returns the first answer again, when `request` did so
    /// before.
    ///
    /// # Errors
    ///
    /// See [`RegisterError`]. Nothing was stored, except possibly when the database failed: a retry finds out.
    pub async fn register(
        &self,
        caller: UserId,
        device: &NewDevice,
        request: RequestKey,
        deadline: Deadline,
    ) -> Result<Registered, RegisterError> {
        // The device may exist, or the quota be used up, because the same request was handled concurrently.
        let may_be_retry = |error: &RegisterError| match error {
            RegisterError::QuotaExceeded(_) => true,
            RegisterError::Database(error) => id_taken(error) || breaks(error, &DEVICE_KEYS),
            _ => false,
        };
        let attempt = || self.try_register(caller, device, request, deadline);
        match retry_once(may_be_retry, attempt).await {
            Err(RegisterError::Database(error)) if breaks(&error, &DEVICE_KEYS) => {
                Err(RegisterError::DeviceExists)
            }
            Err(RegisterError::Database(error)) => {
                Err(person_status::explained(error, &self.database, "RegisterDevice", caller, deadline).await)
            }
            outcome => outcome,
        }
    }

    async fn try_register(
        &self,
        caller: UserId,
        device: &NewDevice,
        request: RequestKey,
        deadline: Deadline,
    ) -> Result<Registered, RegisterError> {
        let mut tx = self
            .database
            .begin("RegisterDevice", Context::User(caller), deadline)
            .await?;
        let row = sqlx::query_as!(
            RegisteredRow,
            r#"
            WITH /* RegisterDevice */ prior AS (
                SELECT method, payload_mac, answer FROM data.requests WHERE user_id = $1 AND id = $2
            ), turn AS (
                INSERT INTO data.change_counters AS mine (user_id, live_devices, devices)
                SELECT $1, 1, 1 WHERE NOT EXISTS (SELECT FROM prior)
                ON CONFLICT (user_id) DO UPDATE SET live_devices = mine.live_devices + 1, devices = mine.devices + 1
                WHERE mine.live_devices < 10 AND mine.devices < 100
                RETURNING user_id
            ), device AS (
                INSERT INTO data.device_key (user_id, id, device_id_hash, encrypted_master_key, key_derivation_path,
                    platform, app_version, next_rotation_at, last_active_at, created_at)
                SELECT user_id, $4, $5, $6, $7, $8, $9, $10, $11, $11 FROM turn
                RETURNING user_id, id, next_rotation_at, created_at
            ), event AS (
                INSERT INTO data.security_audit_log (user_id, event, subject_id, occurred_at)
                SELECT user_id, 'device_registered', id, created_at FROM device
            ), request AS (
                INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
                SELECT user_id, $2, 'RegisterDevice', ($3::bytea[])[1],
                    jsonb_build_object(
                        'device_id', id, 'next_rotation_at', next_rotation_at, 'created_at', created_at),
                    created_at
                FROM device
                RETURNING answer
            ), outcome AS (
                SELECT true AS same, answer FROM request
                UNION ALL
                SELECT payload_mac = ANY ($3) AND method = 'RegisterDevice', answer FROM prior
            )
            SELECT same AS "same!",
                (answer ->> 'device_id')::uuid AS id,
                (answer ->> 'next_rotation_at')::timestamptz AS next_rotation_at,
                (answer ->> 'created_at')::timestamptz AS created_at
            FROM outcome"#,
            caller.as_uuid(),
            request.id,
            &request.payload_macs.to_vecs() as &[Vec<u8>],
            device.id,
            device.installation_hashes.first().as_bytes(),
            device.wrapped_key.as_bytes(),
            device.key_path.as_str(),
            device.platform.name(),
            device.app_version.as_str(),
            device.next_rotation_at,
            device.created_at,
        )
        .fetch_optional(&mut tx)
        .await
        .map_err(DbError::from)?;
        let Some(row) = row else {
            return Err(RegisterError::QuotaExceeded(quota(&mut tx, caller).await?));
        };
        if row.same && device.installation_hashes.iter().len() > 1 {
            // The installation may be registered under an older key. A statement of its own, which sees what was committed
            // before this transaction locked the person's counter.
            sqlx::query!(
                r#"SELECT /* RegisterDevice, older keys */ data.rehash_installation($1) AS "rehashed: ()""#,
                &device.installation_hashes.to_vecs() as &[Vec<u8>],
            )
            .execute(&mut tx)
            .await
            .map_err(DbError::from)?;
        }
        tx.commit().await?;
        row.try_into()
    }
}

/// Returns the limit that the caller of `tx` has reached.
async fn quota(tx: &mut TenantTx, caller: UserId) -> Result<Quota, DbError> {
    let in_all = sqlx::query_scalar!(
        r#"
        SELECT /* RegisterDevice, quota */ devices >= 100 AS "in_all!" FROM data.change_counters WHERE user_id = $1"#,
        caller.as_uuid(),
    )
    .fetch_one(tx)
    .await?;
    Ok(if in_all { Quota::Total } else { Quota::Live })
}

/// The answer to this request, or the stored answer of the request that has its id.
struct RegisteredRow {
    same: bool,
    id: Option<Uuid>,
    next_rotation_at: Option<DateTime<Utc>>,
    created_at: Option<DateTime<Utc>>,
}

impl TryFrom<RegisteredRow> for Registered {
    type Error = RegisterError;

    fn try_from(row: RegisteredRow) -> Result<Self, RegisterError> {
        if !row.same {
            return Err(RegisterError::RequestIdReused);
        }
        match (row.id, row.next_rotation_at, row.created_at) {
            (Some(id), Some(next_rotation_at), Some(created_at)) => Ok(Self {
                id,
                next_rotation_at,
                created_at,
            }),
            _ => Err(DbError::unexpected("the answer of a request").into()),
        }
    }
}
