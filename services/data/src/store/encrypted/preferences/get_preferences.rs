//! GetPreferences.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
};
use uuid::Uuid;

use super::{
    super::{calling_device::next_rotation, error::ReadError},
    Preferences, PreferencesRow,
};
use crate::domain::encrypted::preferences::Preferences as Document;

/// Preferences that were read.
pub struct FoundPreferences {
    /// The stored preferences of the caller.
    pub preferences: Document,
    /// The time at which the next rotation of the calling device's key is due. `None` when the call names no device.
    pub next_rotation_at: Option<DateTime<Utc>>,
}

impl Preferences {
    /// Returns the caller's preferences. `device` is the calling device, if the call names one.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub async fn get(
        &self,
        caller: UserId,
        device: Option<Uuid>,
        deadline: Deadline,
    ) -> Result<FoundPreferences, ReadError> {
        let mut tx = self
            .database
            .begin("GetPreferences", Context::User(caller), deadline)
            .await?;
        let next_rotation_at = next_rotation(&mut tx, caller, device).await?;
        let row = sqlx::query_as!(
            PreferencesRow,
            r#"
            SELECT /* GetPreferences */
                   p.encrypted_payload, p.algorithm, p.key_id, p.key_version, p.nonce, p.salt, p.kdf_memory_kib,
                p.kdf_iterations, p.kdf_parallelism, p.version, p.device_id, p.created_at, p.updated_at,
                d.status = 'revoked' OR p.key_version < d.key_version AS "reencryption_due!"
            FROM data.encrypted_user_prefs AS p
            JOIN data.device_key AS d ON d.user_id = p.user_id AND d.id = p.device_id
            WHERE p.user_id = $1"#,
            caller.as_uuid(),
        )
        .fetch_optional(&mut tx)
        .await
        .map_err(DbError::from)?;
        tx.commit().await?;
        Ok(FoundPreferences {
            preferences: row.ok_or(ReadError::NotFound)?.try_into()?,
            next_rotation_at,
        })
    }
}
