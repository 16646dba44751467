//! The keys that stored hashes are under.

use std::time::Duration;

use sqlx::AssertSqlSafe;

use super::{Context, Database, DbError};
use crate::{deadline::Deadline, mac::KeyId};

/// The time limit for looking for keys. It takes as long as there are keys, and not as there are rows.
const MISSING_TIMEOUT: Duration = Duration::from_secs(10);

/// The time limit for counting, which reads every row, perhaps from a slow disk.
const COUNT_TIMEOUT: Duration = Duration::from_secs(600);

/// The number of stored hashes in one column under one key.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct HashCount {
    /// The table and the column, as in `requests.payload_mac`.
    pub hash: String,
    /// The id of the key.
    pub key_id: String,
    /// The number of rows, at least 1.
    pub count: i64,
}

impl Database {
    /// Returns the ids of the keys that stored hashes need and that are not among `known`.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn missing_secret_keys(&self, known: &[KeyId]) -> Result<Vec<String>, DbError> {
        let known: Vec<String> = known.iter().map(ToString::to_string).collect();
        let sql = format!(
            "SELECT /* SecretKeys.missing */ key_id FROM {}.missing_secret_keys($1) AS key_id ORDER BY 1",
            self.schema
        );
        let deadline = Deadline::after(MISSING_TIMEOUT);
        let mut tx = self
            .begin("SecretKeys.missing", Context::Service, deadline)
            .await?;
        let missing = sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(known)
            .fetch_all(&mut tx)
            .await?;
        tx.commit().await?;
        Ok(missing)
    }

    /// Counts the stored hashes by column and key, in this order. Reads every row.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn count_secret_keys(&self) -> Result<Vec<HashCount>, DbError> {
        let sql = format!(
            "SELECT /* SecretKeys.count */ hash, key_id, count FROM {}.count_secret_keys()",
            self.schema
        );
        let deadline = Deadline::after(COUNT_TIMEOUT);
        let mut tx = self.begin("SecretKeys.count", Context::Service, deadline).await?;
        let counts = sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&mut tx).await?;
        tx.commit().await?;
        Ok(counts)
    }
}
