//! A person's preferences.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::envelope::Encrypted;

/// The one document of preferences that a person has.
pub struct Preferences {
    /// Its content.
    pub content: Encrypted,
    /// 1, and one more with each change.
    pub version: i64,
    /// The device that made this version.
    pub device_id: Uuid,
    /// When it was first stored.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// Whether it is to be encrypted anew: its key was rotated since, or its device is revoked.
    pub reencryption_due: bool,
}
