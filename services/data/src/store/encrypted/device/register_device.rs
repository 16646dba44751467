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

use super::{
    super::calling_device::{CallerError, no_device},
    Devices,
};
use crate::{
    domain::encrypted::{device::EncryptedLabel, device_change::NewDevice},
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

/// A device of the person that a new one collides with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExistingDevice {
    /// The device as which the installation is registered. It is not revoked.
    OfInstallation(Uuid),
    /// The device with the id of the new one. It may be revoked.
    WithId(Uuid),
}

/// The reason why a device was not registered.
#[derive(Debug, Error)]
pub enum RegisterError {
    /// The person is not provisioned, or was erased.
    #[error(transparent)]
    Unknown(#[from] Unknown),
    /// The person has no device with the id of the one to replace.
    #[error(transparent)]
    Caller(#[from] CallerError),
    /// The person has a device with this id, or one with this installation id that is not revoked.
    #[error("the device exists")]
    DeviceExists(ExistingDevice),
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
    /// Registers a device of the caller, and revokes the one that it replaces, if any. Changes nothing, and returns the first
    /// answer again, when `request` did so before.
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
        let mut outcome = retry_once(may_be_retry, attempt).await;
        if matches!(&outcome, Err(RegisterError::Database(error)) if breaks(error, &DEVICE_KEYS)) {
            match self.existing(caller, device, deadline).await? {
                Some(existing) => return Err(RegisterError::DeviceExists(existing)),
                // It was revoked in the meantime.
                None => outcome = attempt().await,
            }
        }
        match outcome {
            Err(RegisterError::Database(error)) => {
                Err(person_status::explained(error, &self.database, "RegisterDevice", caller, deadline).await)
            }
            outcome => outcome,
        }
    }

    /// Returns the device of the caller that `device` collides with, besides the one that it replaces. `None` when there is
    /// none any more.
    async fn existing(
        &self,
        caller: UserId,
        device: &NewDevice,
        deadline: Deadline,
    ) -> Result<Option<ExistingDevice>, DbError> {
        let mut tx = self
            .database
            .begin("RegisterDevice", Context::User(caller), deadline)
            .await?;
        let row = sqlx::query!(
            r#"
            WITH /* RegisterDevice, existing */ registered AS MATERIALIZED (
                SELECT data.registered_device($3) AS id
            )
            SELECT d.id, d.id IS NOT DISTINCT FROM registered.id AS "of_installation!"
            FROM registered, data.device_key AS d
            WHERE d.user_id = $1 AND d.id IN ($2, registered.id) AND d.id IS DISTINCT FROM $4
            ORDER BY 2 DESC
            LIMIT 1"#,
            caller.as_uuid(),
            device.id,
            &device.installation_hashes.to_vecs() as &[Vec<u8>],
            device.replaces,
        )
        .fetch_optional(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(row.map(|row| match row.of_installation {
            true => ExistingDevice::OfInstallation(row.id),
            false => ExistingDevice::WithId(row.id),
        }))
    }

    /// Revokes the device that `device` replaces, unless `request` did so before.
    async fn revoke_replaced(
        &self,
        tx: &mut TenantTx,
        caller: UserId,
        replaced: Uuid,
        device: &NewDevice,
        request: RequestKey,
    ) -> Result<(), RegisterError> {
        let row = sqlx::query!(
            r#"
            WITH /* RegisterDevice, replaced */ prior AS (
                SELECT FROM data.requests WHERE user_id = $1 AND id = $2
            ), revoked AS (
                UPDATE data.device_key SET status = 'revoked', encrypted_master_key = NULL
                WHERE user_id = $1 AND id = $3 AND status <> 'revoked' AND NOT EXISTS (SELECT FROM prior)
                RETURNING id
            ), counted AS (
                UPDATE data.change_counters SET live_devices = live_devices - 1
                WHERE user_id = $1 AND EXISTS (SELECT FROM revoked)
            ), event AS (
                INSERT INTO data.security_audit_log (user_id, event, subject_id, occurred_at)
                SELECT $1, 'device_revoked', id, $4 FROM revoked
            )
            SELECT EXISTS (SELECT FROM prior) AS "is_retry!",
                EXISTS (SELECT FROM data.device_key WHERE user_id = $1 AND id = $3) AS "is_known!""#,
            caller.as_uuid(),
            request.id,
            replaced,
            device.created_at,
        )
        .fetch_one(&mut *tx)
        .await
        .map_err(DbError::from)?;
        // The answer to a retry is that of the first request, whatever became of the device since.
        if row.is_known || row.is_retry {
            Ok(())
        } else {
            Err(no_device(tx, caller).await.into())
        }
    }

    async fn try_register(
        &self,
        caller: UserId,
        device: &NewDevice,
        request: RequestKey,
        deadline: Deadline,
    ) -> Result<Registered, RegisterError> {
        let mut tx = match device.replaces {
            None => {
                self.database
                    .begin("RegisterDevice", Context::User(caller), deadline)
                    .await?
            }
            Some(replaced) => {
                let mut tx = self.begin_change("RegisterDevice", caller, deadline).await?;
                self.revoke_replaced(&mut tx, caller, replaced, device, request)
                    .await?;
                tx
            }
        };
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
                    platform, app_version, next_rotation_at, last_active_at, created_at, encrypted_label)
                SELECT user_id, $4, $5, $6, $7, $8, $9, $10, $11, $11, $12 FROM turn
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
            device.label.as_ref().map(EncryptedLabel::as_bytes),
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
