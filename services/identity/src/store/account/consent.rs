//! The ledgers of consents, which show what each person agreed to and until when. This file has what granting and
//! withdrawing share.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, Database, DbError, TenantTx},
    deadline::Deadline,
    request_key::RequestKey,
};
use thiserror::Error;
use uuid::Uuid;

use super::erasure;
use crate::{
    domain::{
        consent::{Consent, ConsentEntry},
        rate_limit::Quota,
    },
    store::rate_limit::{self, LimitError},
};

/// The ledgers of all people. Each is accessed only in the context of its person.
#[derive(Clone, Debug)]
pub struct Consents {
    pub(super) database: Arc<Database>,
}

/// The error when a consent was neither granted nor withdrawn.
#[derive(Debug, Error)]
pub enum ConsentError {
    /// The person has no such entry, or no account.
    #[error("there is no such consent")]
    NotFound,
    /// The person's account was erased.
    #[error("the account was erased")]
    Erased,
    /// The document has no such version.
    #[error("the document has no such version")]
    VersionUnknown,
    /// The ledger has as many entries as a person may have.
    #[error("the ledger has {used} entries, at most {limit}")]
    TooMany {
        /// The number of entries.
        used: i64,
        /// The maximum.
        limit: i32,
    },
    /// The person is over a rate limit.
    #[error(transparent)]
    Limited(LimitError),
    /// The request id belongs to a request with other content.
    #[error("the request id belongs to another request")]
    RequestIdReused,
    /// The database failed, or cannot be reached.
    #[error(transparent)]
    Database(#[from] DbError),
}

// === impl Consents ===

impl Consents {
    /// The ledgers in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Converts a foreign-key violation into its cause: the caller has no account, or their account was erased. Returns
    /// other errors unchanged.
    pub(super) async fn explain(
        &self,
        error: ConsentError,
        caller: UserId,
        deadline: Deadline,
    ) -> ConsentError {
        let ConsentError::Database(database) = &error else {
            return error;
        };
        if !matches!(
            database.constraint(),
            Some("consents_user_id_fkey" | "requests_user_id_fkey")
        ) {
            return error;
        }
        match self.is_erased(caller, deadline).await {
            Ok(true) => ConsentError::Erased,
            Ok(false) => ConsentError::NotFound,
            Err(error) => error.into(),
        }
    }

    async fn is_erased(&self, caller: UserId, deadline: Deadline) -> Result<bool, DbError> {
        let mut tx = self
            .database
            .begin("Consents.erased", Context::User(caller), deadline)
            .await?;
        let erasure = erasure::find_in(&mut tx, caller).await?;
        tx.commit().await?;
        Ok(erasure.is_some())
    }
}

/// Locks the account: changes of one ledger come one after another, and before or after an erasure.
pub(super) async fn begin_change(tx: &mut TenantTx, caller: UserId) -> Result<(), ConsentError> {
    let account = sqlx::query_scalar!(
        r#"SELECT /* Consents.lock */ 1 AS "one!" FROM identity.users WHERE id = $1 FOR NO KEY UPDATE"#,
        caller.as_uuid(),
    )
    .fetch_optional(&mut *tx)
    .await
    .map_err(DbError::from)?;
    if account.is_some() {
        return Ok(());
    }
    Err(match erasure::find_in(tx, caller).await? {
        Some(_) => ConsentError::Erased,
        None => ConsentError::NotFound,
    })
}

/// Admits a change that is within `quotas`, after it was found to be no retry. The change counts when its transaction commits.
pub(super) async fn admit(tx: &mut TenantTx, quotas: &[Quota]) -> Result<(), ConsentError> {
    rate_limit::admit(tx, quotas, None)
        .await
        .map_err(ConsentError::Limited)
}

/// Returns the id of the entry that was the answer to `request`, when that request was made before.
pub(super) async fn answered(
    tx: &mut TenantTx,
    caller: UserId,
    method: &'static str,
    request: &RequestKey,
) -> Result<Option<Uuid>, ConsentError> {
    let earlier = sqlx::query!(
        r#"
        SELECT /* Consents.answered */
               method = $3 AND payload_mac = ANY ($4) AS "same!", (answer ->> 'consent_id')::uuid AS consent_id
        FROM identity.requests WHERE user_id = $1 AND id = $2"#,
        caller.as_uuid(),
        request.id,
        method,
        &request.payload_macs.to_vecs() as &[Vec<u8>],
    )
    .fetch_optional(tx)
    .await
    .map_err(DbError::from)?;
    match earlier {
        None => Ok(None),
        Some(earlier) if !earlier.same => Err(ConsentError::RequestIdReused),
        Some(earlier) => match earlier.consent_id {
            Some(id) => Ok(Some(id)),
            None => Err(DbError::unexpected("the stored answer of a request has no consent").into()),
        },
    }
}

/// Stores `request` and its answer. Returns `false` when a request with this id is stored already.
pub(super) async fn remember(
    tx: &mut TenantTx,
    caller: UserId,
    method: &'static str,
    request: &RequestKey,
    consent: Uuid,
    at: DateTime<Utc>,
) -> Result<bool, DbError> {
    let inserted = sqlx::query!(
        "
        INSERT /* Consents.remember */ INTO identity.requests (user_id, id, method, payload_mac, answer, created_at)
        VALUES ($1, $2, $3, $4, jsonb_build_object('consent_id', $5::uuid), $6)
        ON CONFLICT (user_id, id) DO NOTHING",
        caller.as_uuid(),
        request.id,
        method,
        request.payload_macs.first().as_bytes(),
        consent,
        at,
    )
    .execute(tx)
    .await?;
    Ok(inserted.rows_affected() > 0)
}

/// Reads the caller's entry `id`.
pub(super) async fn entry(
    tx: &mut TenantTx,
    caller: UserId,
    id: Uuid,
) -> Result<Option<ConsentEntry>, DbError> {
    let row = sqlx::query_as!(
        ConsentRow,
        "
        SELECT /* Consents.entry */ id, document, document_version, granted_at, withdrawn_at FROM identity.consents
        WHERE user_id = $1 AND id = $2",
        caller.as_uuid(),
        id,
    )
    .fetch_optional(tx)
    .await?;
    row.map(ConsentEntry::try_from).transpose()
}

/// A row of `identity.consents`.
pub(super) struct ConsentRow {
    pub(super) id: Uuid,
    pub(super) document: String,
    pub(super) document_version: String,
    pub(super) granted_at: DateTime<Utc>,
    pub(super) withdrawn_at: Option<DateTime<Utc>>,
}

impl TryFrom<ConsentRow> for ConsentEntry {
    type Error = DbError;

    fn try_from(row: ConsentRow) -> Result<Self, DbError> {
        Ok(Self {
            id: row.id,
            consent: Consent::parse(&row.document, &row.document_version)
                .map_err(|_| DbError::unexpected("the stored document of a consent"))?,
            granted_at: row.granted_at,
            withdrawn_at: row.withdrawn_at,
        })
    }
}
