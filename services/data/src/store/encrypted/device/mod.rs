//! People's devices, and the list of them. See [`register_device`] and [`rotate_device_key`] for the rest.

pub mod register_device;
pub mod rotate_device_key;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    cursor::Cursor,
    database::{Context, Database, DbError},
    deadline::Deadline,
    page::PageSize,
};
use uuid::Uuid;

use super::calling_device::{CallerError, next_rotation};
use crate::domain::encrypted::device::{Device, DevicePlatform, DeviceStatus};

/// People's devices.
#[derive(Clone, Debug)]
pub struct Devices {
    pub(super) database: Arc<Database>,
}

/// Some of a person's devices.
pub struct DevicePage {
    /// In the order in which they were registered.
    pub devices: Vec<Device>,
    /// Whether there are more after them.
    pub more: bool,
    /// When the next rotation of the key of the device that calls is due.
    pub next_rotation_at: Option<DateTime<Utc>>,
}

// === impl Devices ===

impl Devices {
    /// Those in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// The caller's devices in the order in which they were registered: at most `size`, from the one after `after`, or
    /// from the first. `device` is the one that calls.
    ///
    /// # Errors
    ///
    /// AccountErased and Database of [`CallerError`].
    pub async fn list(
        &self,
        caller: UserId,
        deadline: Deadline,
        device: Option<Uuid>,
        after: Option<Cursor>,
        size: PageSize,
    ) -> Result<DevicePage, CallerError> {
        let size = usize::from(size.get());
        // One more than asked for shows whether there is a next page.
        let limit = size as i64 + 1;
        let mut tx = self
            .database
            .begin("ListDevices", Context::User(caller), deadline)
            .await?;
        let next_rotation_at = match next_rotation(&mut tx, caller, device).await {
            Ok(next) => next,
            // A device that is suspended looks here for the version of its key, which it has to rotate.
            Err(CallerError::NoDevice | CallerError::DeviceInactive) => None,
            Err(error @ (CallerError::AccountErased | CallerError::Database(_))) => return Err(error),
        };
        let rows = sqlx::query_as!(
            DeviceRow,
            "/* ListDevices */
            SELECT id, platform, app_version, encrypted_master_key, key_derivation_path, key_version, next_rotation_at,
                status, last_active_at, acknowledged_number, created_at
            FROM data.device_key
            WHERE user_id = $1 AND (created_at, id) > (coalesce($2, '-infinity'::timestamptz), $3)
            ORDER BY created_at, id
            LIMIT $4",
            caller.as_uuid(),
            after.map(|place| place.at),
            after.map_or(Uuid::nil(), |place| place.id),
            limit,
        )
        .fetch_all(&mut tx)
        .await
        .map_err(DbError::from)?;
        tx.commit().await?;
        let more = rows.len() > size;
        let devices = rows.into_iter().take(size).map(Device::try_from);
        Ok(DevicePage {
            devices: devices.collect::<Result<_, _>>()?,
            more,
            next_rotation_at,
        })
    }
}

/// A device's row.
pub(in crate::store) struct DeviceRow {
    pub(in crate::store) id: Uuid,
    pub(in crate::store) platform: String,
    pub(in crate::store) app_version: String,
    pub(in crate::store) encrypted_master_key: Option<Vec<u8>>,
    pub(in crate::store) key_derivation_path: String,
    pub(in crate::store) key_version: i32,
    pub(in crate::store) next_rotation_at: DateTime<Utc>,
    pub(in crate::store) status: String,
    pub(in crate::store) last_active_at: DateTime<Utc>,
    pub(in crate::store) acknowledged_number: i64,
    pub(in crate::store) created_at: DateTime<Utc>,
}

impl TryFrom<DeviceRow> for Device {
    type Error = DbError;

    fn try_from(row: DeviceRow) -> Result<Self, DbError> {
        let platform = DevicePlatform::from_name(&row.platform);
        let status = DeviceStatus::from_name(&row.status);
        let (platform, status) = platform
            .zip(status)
            .ok_or_else(|| DbError::unexpected("a device"))?;
        Ok(Self {
            id: row.id,
            platform,
            app_version: row.app_version,
            wrapped_key: row.encrypted_master_key,
            key_derivation_path: row.key_derivation_path,
            key_version: row.key_version,
            next_rotation_at: row.next_rotation_at,
            status,
            last_active_at: row.last_active_at,
            acknowledged_number: row.acknowledged_number,
            created_at: row.created_at,
        })
    }
}
