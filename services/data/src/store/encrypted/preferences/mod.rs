//! Preferences: one document per person.

mod get_preferences;
mod put_preferences;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use haven_platform::database::{Database, DbError};
use uuid::Uuid;

pub use self::{get_preferences::FoundPreferences, put_preferences::StoredPreferences};
use super::envelope_columns;
use crate::domain::encrypted::preferences::Preferences as Document;

/// The preferences of all people, in the database.
#[derive(Clone, Debug)]
pub struct Preferences {
    database: Arc<Database>,
}

impl Preferences {
    /// Creates a store that uses `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }
}

/// A person's preferences as a row.
pub(in crate::store) struct PreferencesRow {
    pub(in crate::store) encrypted_payload: Option<Vec<u8>>,
    pub(in crate::store) algorithm: Option<String>,
    pub(in crate::store) key_id: Option<Uuid>,
    pub(in crate::store) key_version: Option<i32>,
    pub(in crate::store) nonce: Option<Vec<u8>>,
    pub(in crate::store) salt: Option<Vec<u8>>,
    pub(in crate::store) kdf_memory_kib: Option<i32>,
    pub(in crate::store) kdf_iterations: Option<i32>,
    pub(in crate::store) kdf_parallelism: Option<i32>,
    pub(in crate::store) version: i64,
    pub(in crate::store) device_id: Uuid,
    pub(in crate::store) created_at: DateTime<Utc>,
    pub(in crate::store) updated_at: DateTime<Utc>,
    pub(in crate::store) reencryption_due: bool,
}

impl TryFrom<PreferencesRow> for Document {
    type Error = DbError;

    fn try_from(row: PreferencesRow) -> Result<Self, DbError> {
        let content = envelope_columns!(row).content()?;
        Ok(Self {
            content: content.ok_or_else(|| DbError::unexpected("preferences"))?,
            version: row.version,
            device_id: row.device_id,
            created_at: row.created_at,
            updated_at: row.updated_at,
            reencryption_due: row.reencryption_due,
        })
    }
}
