//! The token that a call brings.

use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
    mac::StoredMac,
    request_key::RequestKey,
};
use sqlx::types::Json;
use uuid::Uuid;

use super::{Earlier, Recovery};
use crate::{
    domain::{
        account::PasswordHash,
        rate_limit::{FailureKeys, Quota},
        recovery::RecoveryKind,
    },
    store::rate_limit::{self, LimitError},
};

/// A stored token, with its account.
#[derive(Debug)]
pub struct FoundToken {
    /// The id of the token's person.
    pub user_id: UserId,
    /// The id of the stored row.
    pub id: Uuid,
    /// The account's address, as entered. `None` when the account was erased.
    pub email: Option<String>,
    /// The current hash of the account's password.
    pub password_hash: Option<PasswordHash>,
    /// The version of that password.
    pub password_version: Option<i64>,
    /// The earlier request with the call's request id.
    pub earlier: Option<Earlier>,
    kind: String,
    usable: bool,
}

// === impl FoundToken ===

impl FoundToken {
    /// Returns whether the token could be used for `kind` when it was found. Its use decides again, under a lock.
    #[must_use]
    pub fn is_usable(&self, kind: RecoveryKind) -> bool {
        self.kind == kind.name() && self.usable && self.email.is_some()
    }
}

// === impl Recovery ===

impl Recovery {
    /// Finds the token that has one of these keyed hashes: those of one token under each key of the ring. Admits the call if it
    /// is within all of `quotas`.
    ///
    /// A retry of `method` with the key `request` is within `retries` instead, and waits after wrong passwords that were counted
    /// under `failures`.
    ///
    /// # Errors
    ///
    /// When the call is over a limit, or when the database fails.
    pub async fn find_token(
        &self,
        hashes: impl Iterator<Item = StoredMac>,
        (method, request): (&'static str, &RequestKey),
        (quotas, retries): (&[Quota], &[Quota]),
        failures: Option<&FailureKeys>,
        deadline: Deadline,
    ) -> Result<Option<FoundToken>, LimitError> {
        let hashes: Vec<Vec<u8>> = hashes.map(|hash| hash.as_bytes().to_vec()).collect();
        let mut tx = self
            .database
            .begin("Recovery.find", Context::Anonymous, deadline)
            .await?;
        let row = sqlx::query!(
            r#"
            SELECT /* Recovery.find */ user_id AS "user_id!", id AS "id!", kind AS "kind!", usable AS "usable!", email, password_hash, password_version, method, payload_mac,
                answer AS "answer: Json<serde_json::Value>"
            FROM identity.find_recovery_token($1, $2)"#,
            &hashes as &[Vec<u8>],
            request.id,
        )
        .fetch_optional(&mut tx)
        .await
        .map_err(DbError::from)?;
        let found = row.map(|row| FoundToken {
            user_id: UserId::new(row.user_id),
            id: row.id,
            email: row.email,
            password_hash: row.password_hash.map(PasswordHash::new),
            password_version: row.password_version,
            earlier: Earlier::of(row.method, row.payload_mac, row.answer.map(|answer| answer.0)),
            kind: row.kind,
            usable: row.usable,
        });
        let earlier = found.as_ref().and_then(|found| found.earlier.as_ref());
        match earlier.is_some_and(|earlier| earlier.is(method, request)) {
            true => rate_limit::admit(&mut tx, retries, failures).await?,
            false => rate_limit::admit(&mut tx, quotas, None).await?,
        }
        tx.commit().await?;
        Ok(found)
    }
}
