//! OpenShare: runs without a person's context. SQL functions look up the share by the hash of its token, and return the
//! content or nothing.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
};

use super::{super::EnvelopeColumns, Shares};
use crate::domain::encrypted::{
    passcode::PasscodeHash,
    share::{DeviceType, OpenedShare},
};

impl Shares {
    /// Returns the recipe by which a passcode for the share with this token has to be hashed: the stored hash without
    /// its output. `None` when no share has the token, or the share has no passcode.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn passcode_recipe(
        &self,
        token_hash: [u8; 32],
        deadline: Deadline,
    ) -> Result<Option<String>, DbError> {
        let mut tx = self
            .database
            .begin("OpenShare", Context::Anonymous, deadline)
            .await?;
        let recipe = sqlx::query_scalar!(
            "SELECT /* OpenShare, passcode */ data.share_passcode_recipe($1)",
            &token_hash,
        )
        .fetch_one(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(recipe)
    }

    /// Opens the share with this token at `now`: counts and logs the attempt, and returns the content. `None`, for any
    /// reason, when the attempt is refused. `passcode` is the hash of the passcode in the request.
    ///
    /// # Errors
    ///
    /// When the database fails. The attempt is counted, when only the response was lost.
    pub async fn open(
        &self,
        token_hash: [u8; 32],
        passcode: Option<&PasscodeHash>,
        device_type: DeviceType,
        now: DateTime<Utc>,
        deadline: Deadline,
    ) -> Result<Option<OpenedShare>, DbError> {
        let mut tx = self
            .database
            .begin("OpenShare", Context::Anonymous, deadline)
            .await?;
        let row = sqlx::query!(
            r#"
            SELECT /* OpenShare */
                   user_id AS "user_id!", share_id AS "share_id!", encrypted_share_data, algorithm, key_id, key_version,
                nonce, salt, kdf_memory_kib, kdf_iterations, kdf_parallelism, created_at AS "created_at!",
                expires_at AS "expires_at!"
            FROM data.validate_share_token($1, $2, $3, $4)"#,
            &token_hash,
            passcode.map(PasscodeHash::expose),
            device_type.name(),
            now,
        )
        .fetch_optional(&mut tx)
        .await?;
        tx.commit().await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let content = EnvelopeColumns {
            encrypted_payload: row.encrypted_share_data,
            algorithm: row.algorithm,
            key_id: row.key_id,
            key_version: row.key_version,
            nonce: row.nonce,
            salt: row.salt,
            kdf_memory_kib: row.kdf_memory_kib,
            kdf_iterations: row.kdf_iterations,
            kdf_parallelism: row.kdf_parallelism,
        };
        Ok(Some(OpenedShare {
            person: UserId::new(row.user_id),
            share_id: row.share_id,
            content: content
                .content()?
                .ok_or_else(|| DbError::unexpected("the content of a share"))?,
            created_at: row.created_at,
            expires_at: row.expires_at,
        }))
    }
}
