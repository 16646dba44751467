//! OpenShare: runs without a person's context. SQL functions look up the share by the hash of its token, and return the
//! content or nothing.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
    mac::{KeyId, StoredMacs},
};

use super::{super::EnvelopeColumns, Shares};
use crate::domain::encrypted::{
    passcode::PasscodeHash,
    share::{DeviceType, OpenedShare},
};

impl Shares {
    /// Returns the recipe by which a passcode for the share with this token has to be hashed: the stored hash without
    /// its output, and the id of its key, which is also the key of the token's hash. `None` when no share has the token, or the share has no passcode.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn passcode_recipe(
        &self,
        token_hashes: &StoredMacs,
        deadline: Deadline,
    ) -> Result<Option<(KeyId, String)>, DbError> {
        let mut tx = self
            .database
            .begin("OpenShare", Context::Anonymous, deadline)
            .await?;
        let row = sqlx::query!(
            r#"
            SELECT /* OpenShare, passcode */ token.hash AS "hash!", recipe AS "recipe!"
            FROM unnest($1::bytea[]) AS token (hash), data.share_passcode_recipe(token.hash) AS recipe
            WHERE recipe IS NOT NULL"#,
            &token_hashes.to_vecs() as &[Vec<u8>],
        )
        .fetch_optional(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(row.map(|row| (KeyId::of_stored(&row.hash), row.recipe)))
    }

    /// Opens the share with this token at `now`: counts and logs the attempt, and returns the content. `None`, for any
    /// reason, when the attempt is refused. `token_hashes` are the hashes of the token under each key of the ring, of which at
    /// most one is stored. `passcode` is the hash of the passcode in the request.
    ///
    /// # Errors
    ///
    /// When the database fails. The attempt is counted, when only the response was lost.
    pub async fn open(
        &self,
        token_hashes: &StoredMacs,
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
            FROM unnest($1::bytea[]) AS token (hash), data.validate_share_token(token.hash, $2, $3, $4)"#,
            &token_hashes.to_sorted_vecs() as &[Vec<u8>],
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
