//! The turn, the result and the errors that RotateDeviceKey, SuspendDevice and RevokeDevice have in common.
//!
//! Each of them locks the person's counter before it reads anything, as changes of records do. So no device uses a key
//! while that key is rotated, and the same request, sent twice at once, finds its own answer.

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
use crate::domain::encrypted::device::Device;

/// The reason why a device was not changed.
#[derive(Debug, Error)]
pub enum DeviceChangeError {
    /// The device does not exist, or the database failed.
    #[error(transparent)]
    Caller(CallerError),
    /// The device is revoked, permanently.
    #[error("the device is revoked")]
    Revoked,
    /// The device's key has another version than the rotation is based on.
    #[error("the key has version {current}")]
    VersionConflict {
        /// The current version of the key.
        current: i32,
    },
    /// The request id belongs to a request with other content.
    #[error("the request id belongs to another request")]
    RequestIdReused,
}

impl Devices {
    /// Begins a transaction of `caller`, and waits for the lock on the caller's counter. A caller without a counter has
    /// no device.
    pub(super) async fn begin_change(
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
            "
            SELECT /* whose turn it is to change devices */
                   FROM data.change_counters WHERE user_id = $1 FOR NO KEY UPDATE",
            caller.as_uuid(),
        )
        .execute(&mut tx)
        .await?;
        Ok(tx)
    }
}

/// The outcome of a change, and the device as the request was first answered.
pub(super) struct ChangedRow {
    pub(super) outcome: String,
    pub(super) current_version: Option<i32>,
    pub(super) encrypted_master_key: Option<Vec<u8>>,
    pub(super) status: Option<String>,
    pub(super) key_derivation_path: Option<String>,
    pub(super) key_version: Option<i32>,
    pub(super) next_rotation_at: Option<DateTime<Utc>>,
    pub(super) last_active_at: Option<DateTime<Utc>>,
    pub(super) acknowledged_number: Option<i64>,
    pub(super) platform: Option<String>,
    pub(super) app_version: Option<String>,
    pub(super) created_at: Option<DateTime<Utc>>,
    pub(super) encrypted_label: Option<Vec<u8>>,
}

impl ChangedRow {
    /// Checks that the caller of `tx` has the device.
    pub(super) async fn check_found(
        &self,
        tx: &mut TenantTx,
        caller: UserId,
    ) -> Result<(), DeviceChangeError> {
        match self.outcome.as_str() {
            "not_found" => Err(DeviceChangeError::Caller(no_device(tx, caller).await)),
            _ => Ok(()),
        }
    }

    /// Returns the device with the id `id`, or why it was not changed.
    pub(super) fn device(self, id: Uuid) -> Result<Device, DeviceChangeError> {
        match (self.outcome.as_str(), self.current_version) {
            ("done", _) => {}
            ("reused", _) => return Err(DeviceChangeError::RequestIdReused),
            ("revoked", _) => return Err(DeviceChangeError::Revoked),
            ("stale", Some(current)) => return Err(DeviceChangeError::VersionConflict { current }),
            _ => return Err(DbError::unexpected("the outcome of a device's change").into()),
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
                encrypted_label: self.encrypted_label,
            })
        };
        let row = row().ok_or_else(|| DbError::unexpected("the answer of a request"))?;
        Ok(Device::try_from(row)?)
    }
}

impl From<DbError> for DeviceChangeError {
    fn from(error: DbError) -> Self {
        match error.constraint() {
            // A request of the same method waits for the lock, and then sees this one. So it is one of another method.
            Some("requests_pkey") => Self::RequestIdReused,
            _ => Self::Caller(error.into()),
        }
    }
}
