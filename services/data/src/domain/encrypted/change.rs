//! A change of one cycle record: the same type for CreateRecord, UpdateRecord, DeleteRecord, PushChanges and
//! ResolveConflict.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::envelope::Encrypted;

/// A change of a record: new content, or a deletion.
#[derive(Clone)]
pub struct Change {
    /// The id of the record that is changed, unique per person.
    pub record_id: Uuid,
    /// The record's version that the change is based on. 0 when the record is new.
    pub expected_version: i64,
    /// The new content. `None` deletes the record.
    pub content: Option<Encrypted>,
    /// The time that the record is about, by the person's own clock. `None` only for a deletion that does not state
    /// one.
    pub local_time: Option<DateTime<Utc>>,
    /// The id of the conflict that the change is kept as when it loses against another change. `None` when a change
    /// that loses is rejected and not kept.
    pub conflict_id: Option<Uuid>,
}

/// The one change that a CreateRecord, UpdateRecord or DeleteRecord request makes.
#[derive(Clone)]
pub struct SingleChange {
    /// The id of the device that makes the change.
    pub device: Uuid,
    /// The change of the record.
    pub change: Change,
    /// The time of the request, by the service's clock.
    pub at: DateTime<Utc>,
}
