//! The device that calls.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{DbError, TenantTx},
};
use thiserror::Error;
use uuid::Uuid;

use crate::{
    domain::encrypted::device::DeviceStatus,
    store::person_status::{Unknown, why_caller_unknown},
};

/// Why a device may not call, or that nobody knows: the database failed.
#[derive(Debug, Error)]
pub enum CallerError {
    /// The person has no such device.
    #[error("there is no such device")]
    NoDevice,
    /// The person was erased, and their devices with them.
    #[error("the person was erased")]
    AccountErased,
    /// It is suspended or revoked.
    #[error("the device is not active")]
    DeviceInactive,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// When the next rotation of the key of `device` is due, of the caller of `tx`. None: the call names no device.
///
/// Whoever changes something learns it from the function that does so; this is for those who read.
pub(super) async fn next_rotation(
    tx: &mut TenantTx,
    caller: UserId,
    device: Option<Uuid>,
) -> Result<Option<DateTime<Utc>>, CallerError> {
    let Some(device) = device else {
        return Ok(None);
    };
    let row = sqlx::query!(
        "/* the device that calls */
        SELECT status, next_rotation_at FROM data.device_key WHERE user_id = $1 AND id = $2",
        caller.as_uuid(),
        device,
    )
    .fetch_optional(&mut *tx)
    .await
    .map_err(DbError::from)?;
    let Some(row) = row else {
        return Err(no_device(tx, caller).await);
    };
    active(&row.status)?;
    Ok(Some(row.next_rotation_at))
}

/// Fails where `status` is that of a device that may not call.
pub(super) fn active(status: &str) -> Result<(), CallerError> {
    match DeviceStatus::from_name(status) {
        Some(DeviceStatus::Active) => Ok(()),
        Some(DeviceStatus::Suspended | DeviceStatus::Revoked) => Err(CallerError::DeviceInactive),
        None => Err(DbError::unexpected("the status of a device").into()),
    }
}

/// Fails where the `outcome` of a function that changes something in `tx` is that its device may not call.
pub(super) async fn may_call(tx: &mut TenantTx, caller: UserId, outcome: &str) -> Result<(), CallerError> {
    match outcome {
        "no_device" => Err(no_device(tx, caller).await),
        "device_inactive" => Err(CallerError::DeviceInactive),
        _ => Ok(()),
    }
}

/// Why the caller of `tx` has no such device: one that was there goes only with its person.
pub(super) async fn no_device(tx: &mut TenantTx, caller: UserId) -> CallerError {
    match why_caller_unknown(tx, caller).await {
        Ok(Unknown::AccountErased) => CallerError::AccountErased,
        Ok(Unknown::AccountNotReady) => CallerError::NoDevice,
        Err(error) => error.into(),
    }
}
