//! Audit events: a person's security-relevant actions on their devices, shares and data.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// An entry of a person's security audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditEvent {
    /// The event's id, unique among its person's events.
    pub id: Uuid,
    /// The type of the action that the person took.
    pub event: AuditEventType,
    /// The id of the device or share that was acted on. `None` for actions on all data.
    pub subject_id: Option<Uuid>,
    /// The time of the action.
    pub occurred_at: DateTime<Utc>,
}

/// The type of an audit event.
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
    /// A share was created.
    ShareCreated,
    /// A share was revoked.
    ShareRevoked,
    /// A data export was started.
    DataExported,
}

impl AuditEventType {
    /// All types of audit events, in the order of their definition.
    pub const ALL: [Self; 7] = [
        Self::DeviceRegistered,
        Self::DeviceKeyRotated,
        Self::DeviceSuspended,
        Self::DeviceRevoked,
        Self::ShareCreated,
        Self::ShareRevoked,
        Self::DataExported,
    ];

    /// The name under which the type is stored.
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

    /// Returns the type that is stored under `name`; `None` when no type has this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.name() == name)
    }
}
