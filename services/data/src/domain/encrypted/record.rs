//! Cycle records and their conflicts.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::envelope::Encrypted;

/// A cycle record, or the tombstone of a deleted one.
#[derive(Clone)]
pub struct Record {
    /// The record's id, unique per person.
    pub id: Uuid,
    /// The content. `None` when the record is deleted.
    pub content: Option<Encrypted>,
    /// The version: 1, and one more with each change.
    pub version: i64,
    /// The id of the device that made this version.
    pub device_id: Uuid,
    /// The time that the record is about, by the person's own clock.
    pub local_time: DateTime<Utc>,
    /// The sync status across the person's devices.
    pub sync_status: SyncStatus,
    /// The number of the record's last change in the person's feed.
    pub change_number: i64,
    /// The time at which the record was created.
    pub created_at: DateTime<Utc>,
    /// The time of the last change.
    pub updated_at: DateTime<Utc>,
    /// The time of the deletion. `None` when the record is not deleted.
    pub deleted_at: Option<DateTime<Utc>>,
    /// `true` when a device has to encrypt the content again: its key was rotated, or is that of a revoked device.
    pub reencryption_due: bool,
}

/// The sync status of a record across its person's devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncStatus {
    /// An active device has not acknowledged the record's last change.
    Pending,
    /// Every active device has acknowledged the record's last change.
    Synced,
    /// The record has conflicts that are not settled.
    Conflict,
}

/// A change that lost against a concurrent change of the same record, and is kept until it is settled.
#[derive(Clone)]
pub struct Conflict {
    /// The conflict's id, unique per person.
    pub id: Uuid,
    /// The id of the record that the change was for.
    pub record_id: Uuid,
    /// The record's version that the change is based on.
    pub base_version: i64,
    /// The content that the change would have given the record. `None` when the change is a deletion.
    pub content: Option<Encrypted>,
    /// The id of the device that made the change.
    pub device_id: Uuid,
    /// The time that the content is about, by the person's own clock.
    pub local_time: DateTime<Utc>,
    /// The time at which the change was received.
    pub created_at: DateTime<Utc>,
    /// The time at which the conflict was settled. `None` while it is open.
    pub settled_at: Option<DateTime<Utc>>,
    /// The number of the conflict's last change in the person's feed.
    pub change_number: i64,
}

/// The version of a record that a change made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordVersion {
    /// The id of the changed record.
    pub record_id: Uuid,
    /// The record's version after the change.
    pub version: i64,
    /// The change's number in the person's feed.
    pub change_number: i64,
    /// The time of the change.
    pub changed_at: DateTime<Utc>,
}
