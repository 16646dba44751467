//! What a person did to their devices, their shares and their data.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// An entry of a person's security audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditEvent {
    /// Its id.
    pub id: Uuid,
    /// What happened.
    pub event: AuditEventType,
    /// The device or the share that it was about, where there is one.
    pub subject_id: Option<Uuid>,
    /// When.
    pub occurred_at: DateTime<Utc>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditEventType {
    /// A device was registered.
    DeviceRegistered,
    /// A device's key was rotated.
    DeviceKeyRotated,
    /// A device was suspended.
    DeviceSuspended,
    /// A device was revoked.
    DeviceRevoked,
    /// Something was shared.
    ShareCreated,
    /// A share was revoked.
    ShareRevoked,
    /// An export was begun.
    DataExported,
}

impl AuditEventType {
    /// Each of them.
    pub const ALL: [Self; 7] = [
        Self::DeviceRegistered,
        Self::DeviceKeyRotated,
        Self::DeviceSuspended,
        Self::DeviceRevoked,
        Self::ShareCreated,
        Self::ShareRevoked,
        Self::DataExported,
    ];

    /// The name that it is stored under.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DeviceRegistered => "device_registered",
            Self::DeviceKeyRotated => "device_key_rotated",
            Self::DeviceSuspended => "device_suspended",
            Self::DeviceRevoked => "device_revoked",
            Self::ShareCreated => "share_created",
            Self::ShareRevoked => "share_revoked",
            Self::DataExported => "data_exported",
        }
    }

    /// The event of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.name() == name)
    }
}
