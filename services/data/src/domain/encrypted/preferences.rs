//! A person's preferences: one encrypted document.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::envelope::Encrypted;

/// The stored preferences of a person.
pub struct Preferences {
    /// The preferences, encrypted by a device.
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
    /// The id of the device that stores the preferences.
    pub device: Uuid,
    /// The version that the new preferences replace. 0 when there are no preferences yet.
    pub expected_version: i64,
    /// The content, encrypted under the device's key.
    pub content: Encrypted,
    /// The time of the request, by the service's clock.
    pub at: DateTime<Utc>,
}
