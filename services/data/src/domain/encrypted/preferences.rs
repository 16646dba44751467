//! A person's preferences: one encrypted document.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::envelope::Encrypted;

/// A person's preferences.
pub struct Preferences {
    /// The content.
    pub content: Encrypted,
    /// The version: 1, and one more with each change.
    pub version: i64,
    /// The id of the device that made this version.
    pub device_id: Uuid,
    /// The time at which preferences were first stored.
    pub created_at: DateTime<Utc>,
    /// The time of the last change.
    pub updated_at: DateTime<Utc>,
    /// `true` when a device has to encrypt the content again: its key was rotated, or its device is revoked.
    pub reencryption_due: bool,
}

/// A request to store preferences.
pub struct NewPreferences {
    /// The id of the device that stores them.
    pub device: Uuid,
    /// The version that they replace. 0 when there are no preferences yet.
    pub expected_version: i64,
    /// The content, encrypted under the device's key.
    pub content: Encrypted,
    /// The time of the request, by the service's clock.
    pub at: DateTime<Utc>,
}
