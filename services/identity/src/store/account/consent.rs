//! Consents: writing into a person's ledger of what they agreed to, and until when.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, Database, DbError, TenantTx},
    deadline::Deadline,
};
use thiserror::Error;
use uuid::Uuid;

use crate::domain::{
    account::NewConsent,
    audit::NewAuditEvent,
    consent::{Consent, ConsentEntry},
};
use crate::store::account::delete_account as erasure;
use crate::store::audit_log as audit;
use crate::store::request::RequestKey;

/// How often a grant begins anew when others change the same consent at the same time.
const ATTEMPTS: usize = 8;

/// The consents of everybody, each reached only as the person whose it is.
#[derive(Clone, Debug)]
pub struct Consents {
    pub(in crate::store) database: Arc<Database>,
}

/// Why a consent was neither granted nor withdrawn.
#[derive(Debug, Error)]
pub enum ConsentError {
    /// The person has no such entry, or has no account.
    #[error("there is no such consent")]
    NotFound,
    /// The person's account was erased.
    #[error("the account was erased")]
    Erased,
    /// The request id belongs to a request with other content.
    #[error("the request id belongs to another request")]
    RequestIdReused,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// The methods that write here, as requests are remembered.
const GRANT: &str = "GrantConsent";
const WITHDRAW: &str = "WithdrawConsent";

// === impl Consents ===

impl Consents {
    /// The consents in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Writes `new` into the caller's ledger, unless that consent stands already; or, when `request` did so before, changes
    /// nothing. Answers the entry, as it was then. `event` is what goes into the audit log when one was written.
    ///
    /// # Errors
    ///
    /// See [`ConsentError`].
    pub async fn grant(
        &self,
        caller: UserId,
        new: &NewConsent,
        request: &RequestKey,
        event: &NewAuditEvent<'_>,
        deadline: Deadline,
    ) -> Result<ConsentEntry, ConsentError> {
        for _ in 0..ATTEMPTS {
            match self.try_grant(caller, new, request, event, deadline).await {
                Ok(None) => {}
                Ok(Some(entry)) => return Ok(entry),
                Err(error) => return Err(self.explain(error, caller, deadline).await),
            }
        }
        Err(DbError::unexpected("a consent that came and went each time it was looked at").into())
    }

    /// As [`Consents::grant`]. None: another transaction was faster with the same request, or withdrew what stood.
    async fn try_grant(
        &self,
        caller: UserId,
        new: &NewConsent,
        request: &RequestKey,
        event: &NewAuditEvent<'_>,
        deadline: Deadline,
    ) -> Result<Option<ConsentEntry>, ConsentError> {
        let mut tx = self
            .database
            .begin(GRANT, Context::User(caller), deadline)
            .await?;
        if let Some(id) = answered(&mut tx, caller, GRANT, request).await? {
            let entry = entry(&mut tx, caller, id).await?;
            tx.commit().await?;
            // What was granted stood then, whatever became of it since.
            let granted = entry.map(|entry| ConsentEntry {
                withdrawn_at: None,
                ..entry
            });
            return granted.map(Some).ok_or(ConsentError::NotFound);
        }
        let made = sqlx::query_as!(
            ConsentRow,
            "/* GrantConsent */
            INSERT INTO identity.consents (user_id, id, document, document_version, granted_at)
            VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (user_id, document, document_version) WHERE withdrawn_at IS NULL DO NOTHING
            RETURNING id, document, document_version, granted_at, withdrawn_at",
            caller.as_uuid(),
            new.id,
            new.consent.document(),
            new.consent.version(),
            event.at,
        )
        .fetch_optional(&mut tx)
        .await
        .map_err(DbError::from)?;
        let is_new = made.is_some();
        let standing = match made {
            Some(row) => Some(row),
            None => standing(&mut tx, caller, &new.consent).await?,
        };
        let Some(row) = standing else { return Ok(None) };
        if !remember(&mut tx, caller, GRANT, request, row.id, event.at).await? {
            return Ok(None);
        }
        if is_new {
            audit::append(&mut tx, event).await?;
        }
        tx.commit().await?;
        Ok(Some(row.try_into()?))
    }

    /// Withdraws the caller's consent `id`; one that was withdrawn before stays as it is. `event` is what goes into the
    /// audit log when it was withdrawn now.
    ///
    /// # Errors
    ///
    /// See [`ConsentError`].
    pub async fn withdraw(
        &self,
        caller: UserId,
        id: Uuid,
        request: &RequestKey,
        event: &NewAuditEvent<'_>,
        deadline: Deadline,
    ) -> Result<ConsentEntry, ConsentError> {
        match self.try_withdraw(caller, id, request, event, deadline).await {
            Ok(entry) => Ok(entry),
            Err(error) => Err(self.explain(error, caller, deadline).await),
        }
    }

    async fn try_withdraw(
        &self,
        caller: UserId,
        id: Uuid,
        request: &RequestKey,
        event: &NewAuditEvent<'_>,
        deadline: Deadline,
    ) -> Result<ConsentEntry, ConsentError> {
        let mut tx = self
            .database
            .begin(WITHDRAW, Context::User(caller), deadline)
            .await?;
        // The request is first: a race of two equal ones ends here, and an erasure of the account waits for it, or it for
        // the erasure, before either holds what the other wants.
        if remember(&mut tx, caller, WITHDRAW, request, id, event.at).await? {
            let withdrawn = sqlx::query_scalar!(
                // Two clocks: nothing is withdrawn before it was granted.
                r#"/* WithdrawConsent */
                SELECT identity.withdraw_consent(id, greatest($3, granted_at)) AS "withdrawn!"
                FROM identity.consents WHERE user_id = $1 AND id = $2"#,
                caller.as_uuid(),
                id,
                event.at,
            )
            .fetch_optional(&mut tx)
            .await
            .map_err(DbError::from)?;
            // What is not committed is not remembered.
            if withdrawn.ok_or(ConsentError::NotFound)? {
                audit::append(&mut tx, event).await?;
            }
        } else {
            answered(&mut tx, caller, WITHDRAW, request).await?;
        }
        let entry = entry(&mut tx, caller, id).await?;
        tx.commit().await?;
        // An entry that is withdrawn never changes again, so this is also what a retry was answered.
        entry.ok_or(ConsentError::NotFound)
    }

    /// What it means that a row cannot be the caller's: there is no account, or no longer.
    async fn explain(&self, error: ConsentError, caller: UserId, deadline: Deadline) -> ConsentError {
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

/// The entry that `request` was answered with, when it was made before.
async fn answered(
    tx: &mut TenantTx,
    caller: UserId,
    method: &'static str,
    request: &RequestKey,
) -> Result<Option<Uuid>, ConsentError> {
    let earlier = sqlx::query!(
        r#"/* Consents.answered */
        SELECT method = $3 AND payload_mac = $4 AS "same!", (answer ->> 'consent_id')::uuid AS consent_id
        FROM identity.requests WHERE user_id = $1 AND id = $2"#,
        caller.as_uuid(),
        request.id,
        method,
        &request.payload_mac,
    )
    .fetch_optional(tx)
    .await
    .map_err(DbError::from)?;
    match earlier {
        None => Ok(None),
        Some(earlier) if !earlier.same => Err(ConsentError::RequestIdReused),
        Some(earlier) => match earlier.consent_id {
            Some(id) => Ok(Some(id)),
            None => Err(DbError::unexpected("an answer names no consent").into()),
        },
    }
}

/// Remembers `request` and its answer. False: it is remembered already.
async fn remember(
    tx: &mut TenantTx,
    caller: UserId,
    method: &'static str,
    request: &RequestKey,
    consent: Uuid,
    at: DateTime<Utc>,
) -> Result<bool, DbError> {
    let inserted = sqlx::query!(
        "/* Consents.remember */
        INSERT INTO identity.requests (user_id, id, method, payload_mac, answer, created_at)
        VALUES ($1, $2, $3, $4, jsonb_build_object('consent_id', $5::uuid), $6)
        ON CONFLICT (user_id, id) DO NOTHING",
        caller.as_uuid(),
        request.id,
        method,
        &request.payload_mac,
        consent,
        at,
    )
    .execute(tx)
    .await?;
    Ok(inserted.rows_affected() > 0)
}

async fn standing(
    tx: &mut TenantTx,
    caller: UserId,
    consent: &Consent,
) -> Result<Option<ConsentRow>, DbError> {
    let row = sqlx::query_as!(
        ConsentRow,
        "/* Consents.standing */
        SELECT id, document, document_version, granted_at, withdrawn_at FROM identity.consents
        WHERE user_id = $1 AND document = $2 AND document_version = $3 AND withdrawn_at IS NULL",
        caller.as_uuid(),
        consent.document(),
        consent.version(),
    )
    .fetch_optional(tx)
    .await?;
    Ok(row)
}

async fn entry(tx: &mut TenantTx, caller: UserId, id: Uuid) -> Result<Option<ConsentEntry>, DbError> {
    let row = sqlx::query_as!(
        ConsentRow,
        "/* Consents.entry */
        SELECT id, document, document_version, granted_at, withdrawn_at FROM identity.consents
        WHERE user_id = $1 AND id = $2",
        caller.as_uuid(),
        id,
    )
    .fetch_optional(tx)
    .await?;
    row.map(ConsentEntry::try_from).transpose()
}

/// An entry as the table has it.
pub(in crate::store) struct ConsentRow {
    pub(in crate::store) id: Uuid,
    pub(in crate::store) document: String,
    pub(in crate::store) document_version: String,
    pub(in crate::store) granted_at: DateTime<Utc>,
    pub(in crate::store) withdrawn_at: Option<DateTime<Utc>>,
}

impl TryFrom<ConsentRow> for ConsentEntry {
    type Error = DbError;

    fn try_from(row: ConsentRow) -> Result<Self, DbError> {
        Ok(Self {
            id: row.id,
            consent: Consent::parse(&row.document, &row.document_version)
                .map_err(|_| DbError::unexpected("the document of a consent"))?,
            granted_at: row.granted_at,
            withdrawn_at: row.withdrawn_at,
        })
    }
}
