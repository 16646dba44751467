//! Devices.

mod changed_row;
mod list_devices;
mod register_device;
mod rotate_device_key;
mod stop_device;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use haven_platform::database::{Database, DbError};
use uuid::Uuid;

pub use self::{
    changed_row::DeviceChangeError,
    list_devices::ListedDevices,
    register_device::{ExistingDevice, Quota, RegisterError, Registered},
};
use crate::domain::encrypted::device::{Device, DevicePlatform, DeviceStatus};

/// The devices of all people, in the database.
#[derive(Clone, Debug)]
pub struct Devices {
    database: Arc<Database>,
}

impl Devices {
    /// Creates a store that uses `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }
}

/// A device as a row.
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
    pub(in crate::store) encrypted_label: Option<Vec<u8>>,
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
            label: row.encrypted_label,
        })
    }
}
