//! The device that calls.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{DbError, TenantTx},
};
use thiserror::Error;
use uuid::Uuid;

/// Why a device may not call.
#[derive(Debug, Error)]
pub enum CallerError {
    /// The person has no such device.
    #[error("there is no such device")]
    NoDevice,
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
    .fetch_optional(tx)
    .await
    .map_err(DbError::from)?;
    match row {
        None => Err(CallerError::NoDevice),
        Some(row) if row.status != "active" => Err(CallerError::DeviceInactive),
        Some(row) => Ok(Some(row.next_rotation_at)),
    }
}
