//! The device that makes a call: its status, and when the next rotation of its key is due.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Database, DbError, TenantTx},
    deadline::Deadline,
};
use thiserror::Error;
use uuid::Uuid;

use crate::{
    domain::encrypted::device::DeviceStatus,
    store::person_status::{Unknown, why_caller_unknown, why_unknown},
};

/// The reason why a device may not call, or a failure of the database.
#[derive(Debug, Error)]
pub enum CallerError {
    /// The person has no device with this id.
    #[error("the device does not exist")]
    NoDevice,
    /// The person was erased, with all devices.
    #[error("the person was erased")]
    AccountErased,
    /// The device is suspended or revoked.
    #[error("the device is not active")]
    DeviceInactive,
    /// The database failed, or did not answer before the deadline.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Returns when the next rotation of the key of `device` is due. `None` when the call names no device.
///
/// This is for calls that read. The SQL functions that change something return the time themselves.
///
/// # Errors
///
/// See [`CallerError`].
pub(super) async fn next_rotation(
    tx: &mut TenantTx,
    caller: UserId,
    device: Option<Uuid>,
) -> Result<Option<DateTime<Utc>>, CallerError> {
    let Some(device) = device else {
        return Ok(None);
    };
    let row = sqlx::query!(
        "
        SELECT /* the device that calls */ status, next_rotation_at FROM data.device_key WHERE user_id = $1 AND id = $2",
        caller.as_uuid(),
        device,
    )
    .fetch_optional(&mut *tx)
    .await
    .map_err(DbError::from)?;
    let Some(row) = row else {
        return Err(no_device(tx, caller).await);
    };
    check_active(&row.status)?;
    Ok(Some(row.next_rotation_at))
}

/// Checks that `status` is that of a device that may call.
pub(super) fn check_active(status: &str) -> Result<(), CallerError> {
    match DeviceStatus::from_name(status) {
        Some(DeviceStatus::Active) => Ok(()),
        Some(DeviceStatus::Suspended | DeviceStatus::Revoked) => Err(CallerError::DeviceInactive),
        None => Err(DbError::unexpected("the status of a device").into()),
    }
}

/// Checks that the `outcome` of an SQL function that changes something in `tx` is not that the device may not call.
pub(super) async fn check_outcome(
    tx: &mut TenantTx,
    caller: UserId,
    outcome: &str,
) -> Result<(), CallerError> {
    match outcome {
        "no_device" => Err(no_device(tx, caller).await),
        "device_inactive" => Err(CallerError::DeviceInactive),
        _ => Ok(()),
    }
}

/// Checks that the `outcome` of a function that was called in one round trip is not that the device may not call. `method` is the
/// name of the called RPC.
pub(super) async fn check_call(
    database: &Database,
    method: &'static str,
    caller: UserId,
    outcome: &str,
    deadline: Deadline,
) -> Result<(), CallerError> {
    match outcome {
        "no_device" => Err(no_device_of(database, method, caller, deadline).await),
        "device_inactive" => Err(CallerError::DeviceInactive),
        _ => Ok(()),
    }
}

/// Returns why `caller` does not have a device, as [`no_device`] in a transaction of its own.
pub(super) async fn no_device_of(
    database: &Database,
    method: &'static str,
    caller: UserId,
    deadline: Deadline,
) -> CallerError {
    match why_unknown(database, method, caller, deadline).await {
        Ok(Unknown::AccountErased) => CallerError::AccountErased,
        Ok(Unknown::AccountNotReady) => CallerError::NoDevice,
        Err(error) => error.into(),
    }
}

/// Returns why the caller of `tx` does not have a device: a registered device disappears only with its person.
pub(super) async fn no_device(tx: &mut TenantTx, caller: UserId) -> CallerError {
    match why_caller_unknown(tx, caller).await {
        Ok(Unknown::AccountErased) => CallerError::AccountErased,
        Ok(Unknown::AccountNotReady) => CallerError::NoDevice,
        Err(error) => error.into(),
    }
}
