//! ListDevices: pages of a person's devices, by keyset.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    cursor::Cursor,
    database::{Context, DbError},
    deadline::Deadline,
    page::{Page, PageSize},
};
use uuid::Uuid;

use super::{
    super::calling_device::{CallerError, next_rotation},
    DeviceRow, Devices,
};
use crate::domain::encrypted::device::Device;

/// A page of a person's devices, in the order of registration.
pub struct ListedDevices {
    /// The page of devices.
    pub page: Page<Device>,
    /// The time at which the next rotation of the calling device's key is due. `None` when the call names no device, or
    /// one that is not active.
    pub next_rotation_at: Option<DateTime<Utc>>,
}

impl Devices {
    /// Returns a page of the caller's devices in the order of registration, after the one at `after`, or from the
    /// first. `device` is the calling device, if the call names one.
    ///
    /// # Errors
    ///
    /// AccountErased and Database of [`CallerError`].
    pub async fn list(
        &self,
        caller: UserId,
        device: Option<Uuid>,
        after: Option<Cursor>,
        size: PageSize,
        deadline: Deadline,
    ) -> Result<ListedDevices, CallerError> {
        let mut tx = self
            .database
            .begin("ListDevices", Context::User(caller), deadline)
            .await?;
        let next_rotation_at = match next_rotation(&mut tx, caller, device).await {
            Ok(next) => next,
            // A suspended device looks up the version of its key here, which it has to rotate.
            Err(CallerError::NoDevice | CallerError::DeviceInactive) => None,
            Err(error @ (CallerError::AccountErased | CallerError::Database(_))) => return Err(error),
        };
        let rows = sqlx::query_as!(
            DeviceRow,
            "
            SELECT /* ListDevices */
                   id, platform, app_version, encrypted_master_key, key_derivation_path, key_version, next_rotation_at,
                status, last_active_at, acknowledged_number, created_at, encrypted_label
            FROM data.device_key
            WHERE user_id = $1 AND (created_at, id) > (coalesce($2, '-infinity'::timestamptz), $3)
            ORDER BY created_at, id
            LIMIT $4",
            caller.as_uuid(),
            after.map(|cursor| cursor.at),
            after.map_or(Uuid::nil(), |cursor| cursor.id),
            size.limit(),
        )
        .fetch_all(&mut tx)
        .await
        .map_err(DbError::from)?;
        tx.commit().await?;
        Ok(ListedDevices {
            page: Page::try_from_rows(rows, size)?,
            next_rotation_at,
        })
    }
}
