//! The SQL of GrantConsent.

use haven_platform::{
    call::UserId,
    database::{Context, DbError, TenantTx},
    deadline::Deadline,
    request_key::RequestKey,
};

use super::consent::{ConsentError, ConsentRow, Consents, admit, answered, begin_change, entry, remember};
use crate::{
    domain::{
        audit::NewAuditEvent,
        consent::{Consent, ConsentEntry, NewConsent},
        rate_limit::Quota,
    },
    store::audit_log,
};

/// The name of the method in `identity.requests`.
const METHOD: &str = "GrantConsent";

/// The maximum number of attempts when other transactions change the same consent at the same time.
const MAX_ATTEMPTS: usize = 8;

/// The rules that a grant must meet.
#[derive(Clone, Copy, Debug)]
pub struct GrantRules<'a> {
    /// The rate limits, which a grant that succeeds counts towards.
    pub quotas: &'a [Quota],
    /// The maximum number of entries in the ledger.
    pub max_entries: i32,
    /// `true` when the document has such a version.
    pub is_accepted: bool,
}

impl Consents {
    /// Adds `new` to the caller's ledger, unless that consent is in effect already. When the same request did so
    /// before, changes nothing. Returns the entry as it was at the time of the grant. `event` is appended to the audit
    /// log when an entry was added. A grant that succeeds counts towards the rate limits. `rules` do not apply to a retry.
    ///
    /// # Errors
    ///
    /// See [`ConsentError`].
    pub async fn grant(
        &self,
        caller: UserId,
        new: &NewConsent,
        request: &RequestKey,
        rules: &GrantRules<'_>,
        event: &NewAuditEvent<'_>,
        deadline: Deadline,
    ) -> Result<ConsentEntry, ConsentError> {
        for _ in 0..MAX_ATTEMPTS {
            match self.try_grant(caller, new, request, rules, event, deadline).await {
                Ok(None) => {}
                Ok(Some(entry)) => return Ok(entry),
                Err(error) => return Err(self.explain(error, caller, deadline).await),
            }
        }
        Err(DbError::unexpected("a consent was changed by other transactions in every attempt").into())
    }

    /// Makes one attempt of [`Consents::grant`]. `None` when another transaction committed the same request first, or
    /// withdrew the consent that was in effect.
    async fn try_grant(
        &self,
        caller: UserId,
        new: &NewConsent,
        request: &RequestKey,
        rules: &GrantRules<'_>,
        event: &NewAuditEvent<'_>,
        deadline: Deadline,
    ) -> Result<Option<ConsentEntry>, ConsentError> {
        let mut tx = self
            .database
            .begin(METHOD, Context::User(caller), deadline)
            .await?;
        begin_change(&mut tx, caller).await?;
        if let Some(id) = answered(&mut tx, caller, METHOD, request).await? {
            let entry = entry(&mut tx, caller, id).await?;
            tx.commit().await?;
            // The consent was in effect then, even when it was withdrawn later.
            let granted = entry.map(|entry| ConsentEntry {
                withdrawn_at: None,
                ..entry
            });
            return granted.map(Some).ok_or(ConsentError::NotFound);
        }
        if !rules.is_accepted {
            return Err(ConsentError::VersionUnknown);
        }
        admit(&mut tx, rules.quotas).await?;
        let inserted = sqlx::query_as!(
            ConsentRow,
            "
            INSERT /* GrantConsent */ INTO identity.consents (user_id, id, document, document_version, granted_at)
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
        let is_new = inserted.is_some();
        if is_new {
            check_number(&mut tx, caller, rules.max_entries).await?;
        }
        let in_effect = match inserted {
            Some(row) => Some(row),
            None => in_effect(&mut tx, caller, &new.consent).await?,
        };
        let Some(row) = in_effect else { return Ok(None) };
        if !remember(&mut tx, caller, METHOD, request, row.id, event.at).await? {
            return Ok(None);
        }
        if is_new {
            audit_log::append(&mut tx, event).await?;
        }
        tx.commit().await?;
        Ok(Some(row.try_into()?))
    }
}

/// Checks the number of entries, the new one included. The account is locked, so no other call adds one meanwhile.
async fn check_number(tx: &mut TenantTx, caller: UserId, limit: i32) -> Result<(), ConsentError> {
    let entries = sqlx::query_scalar!(
        r#"SELECT /* GrantConsent.count */ count(*) AS "count!" FROM identity.consents WHERE user_id = $1"#,
        caller.as_uuid(),
    )
    .fetch_one(tx)
    .await
    .map_err(DbError::from)?;
    match entries > i64::from(limit) {
        true => Err(ConsentError::TooMany {
            used: entries - 1,
            limit,
        }),
        false => Ok(()),
    }
}

/// Reads the caller's entry for `consent` that is in effect.
async fn in_effect(
    tx: &mut TenantTx,
    caller: UserId,
    consent: &Consent,
) -> Result<Option<ConsentRow>, DbError> {
    let row = sqlx::query_as!(
        ConsentRow,
        "
        SELECT /* Consents.standing */ id, document, document_version, granted_at, withdrawn_at FROM identity.consents
        WHERE user_id = $1 AND document = $2 AND document_version = $3 AND withdrawn_at IS NULL",
        caller.as_uuid(),
        consent.document(),
        consent.version(),
    )
    .fetch_optional(tx)
    .await?;
    Ok(row)
}
