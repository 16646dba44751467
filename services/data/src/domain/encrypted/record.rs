//! Cycle records, and what their changes come to.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::envelope::Encrypted;

/// A cycle record, or its tombstone.
#[derive(Clone)]
pub struct Record {
    /// Its id.
    pub id: Uuid,
    /// Its content. None: it is deleted.
    pub content: Option<Encrypted>,
    /// The version of its content.
    pub version: i64,
    /// The device that made this version.
    pub device_id: Uuid,
    /// When what it records happened, by the person's own clock.
    pub local_time: DateTime<Utc>,
    /// How far it is known.
    pub sync_status: SyncStatus,
    /// The number of its last change.
    pub change_number: i64,
    /// When it was first stored.
    pub created_at: DateTime<Utc>,
    /// When its content last changed.
    pub updated_at: DateTime<Utc>,
    /// When it was deleted.
    pub deleted_at: Option<DateTime<Utc>>,
    /// Whether it is under a key that is nobody's any more.
    pub reencryption_due: bool,
}

/// How far a record is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncStatus {
    /// Not every active device has acknowledged it.
    Pending,
    /// Every active device has.
    Synced,
    /// There are changes of it that lost a race, and that nobody has settled.
    Conflict,
}

/// A change that lost a race.
#[derive(Clone)]
pub struct Conflict {
    /// Its id.
    pub id: Uuid,
    /// The record.
    pub record_id: Uuid,
    /// The version that the change is based on.
    pub base_version: i64,
    /// What the record was to become. None: deleted.
    pub content: Option<Encrypted>,
    /// The device that made the change.
    pub device_id: Uuid,
    /// When what it records happened, by the person's own clock.
    pub local_time: DateTime<Utc>,
    /// When it came.
    pub created_at: DateTime<Utc>,
    /// When it was settled.
    pub settled_at: Option<DateTime<Utc>>,
    /// The number of its last change.
    pub change_number: i64,
}

/// What a change made of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordVersion {
    /// The record.
    pub record_id: Uuid,
    /// The version that it has by it.
    pub version: i64,
    /// The number of the change.
    pub change_number: i64,
    /// When it was changed.
    pub changed_at: DateTime<Utc>,
}
