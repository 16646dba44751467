//! Requests that register or change a device.

use chrono::{DateTime, Utc};
use haven_platform::mac::StoredMacs;
use uuid::Uuid;

use super::device::{AppVersion, DevicePlatform, DeviceStatus, EncryptedLabel, KeyPath, WrappedKey};

/// A request to register a device.
pub struct NewDevice {
    /// The id of the new device, which is also the id of its key.
    pub id: Uuid,
    /// The keyed hashes of the device's installation id, under each key of the ring.
    pub installation_hashes: StoredMacs,
    /// The person's master key, wrapped by the device.
    pub wrapped_key: WrappedKey,
    /// The derivation path of the device's key.
    pub key_path: KeyPath,
    /// The operating platform of the device.
    pub platform: DevicePlatform,
    /// The version of the app on the device.
    pub app_version: AppVersion,
    /// The person's name for the device. `None` when the request has none.
    pub label: Option<EncryptedLabel>,
    /// The id of the person's device that this one takes the place of. `None` when it is a further one.
    pub replaces: Option<Uuid>,
    /// The time at which the first rotation of the device's key is due.
    pub next_rotation_at: DateTime<Utc>,
    /// The time of the request, by the service's clock.
    pub created_at: DateTime<Utc>,
}

/// A request to rotate a device's key.
pub struct KeyRotation {
    /// The id of the device that owns the key.
    pub id: Uuid,
    /// The key version that the rotation is based on, 1 or more.
    pub expected_key_version: i32,
    /// The person's master key, wrapped again by the device.
    pub wrapped_key: WrappedKey,
    /// The derivation path of the device's new key.
    pub key_path: KeyPath,
    /// The person's new name for the device. `None` when the device keeps the one that it has.
    pub label: Option<EncryptedLabel>,
    /// The time of the request, by the service's clock.
    pub at: DateTime<Utc>,
}

/// A request to suspend or to revoke a device.
#[derive(Clone, Copy, Debug)]
pub struct DeviceStop {
    /// The id of the device to stop.
    pub id: Uuid,
    /// The kind of stop.
    pub kind: StopKind,
    /// The time of the request, by the service's clock.
    pub at: DateTime<Utc>,
}

/// The kind of a [`DeviceStop`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopKind {
    /// Suspends the device until its key is rotated.
    Suspend,
    /// Revokes the device permanently.
    Revoke,
}

// === impl StopKind ===

impl StopKind {
    /// Returns the name of the RPC.
    #[must_use]
    pub fn method(self) -> &'static str {
        match self {
            Self::Suspend => "SuspendDevice",
            Self::Revoke => "RevokeDevice",
        }
    }

    /// Returns the status that the device has afterwards.
    #[must_use]
    pub fn status(self) -> DeviceStatus {
        match self {
            Self::Suspend => DeviceStatus::Suspended,
            Self::Revoke => DeviceStatus::Revoked,
        }
    }
}
