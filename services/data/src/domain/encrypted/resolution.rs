//! The resolution of a record's conflicts.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::change::Change;

/// A request to settle conflicts of one record.
pub struct Settlement {
    /// The id of the device that settles the conflicts.
    pub device: Uuid,
    /// The id of the record that the conflicts belong to.
    pub record_id: Uuid,
    /// The record's version that the resolution is based on, 1 or more.
    pub expected_version: i64,
    /// The ids of the conflicts to settle, without duplicates.
    pub conflicts: Vec<Uuid>,
    /// The effect on the record.
    pub resolution: Resolution,
    /// The time of the request, by the service's clock.
    pub at: DateTime<Utc>,
}

/// The effect of a settlement on its record.
#[derive(Clone)]
pub enum Resolution {
    /// The record stays as it is.
    Keep,
    /// The record is replaced or deleted. Replacing a deleted record restores it.
    Apply(Change),
}
