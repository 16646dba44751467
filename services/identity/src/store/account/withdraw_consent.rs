//! The SQL of WithdrawConsent.

use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
    request_key::RequestKey,
};
use uuid::Uuid;

use super::consent::{ConsentError, Consents, admit, answered, begin_change, entry, remember};
use crate::{
    domain::{audit::NewAuditEvent, consent::ConsentEntry, rate_limit::Quota},
    store::audit_log,
};

/// The name of the method in `identity.requests`.
const METHOD: &str = "WithdrawConsent";

impl Consents {
    /// Withdraws the caller's consent `id`. A consent that was withdrawn before does not change. `event` is appended to
    /// the audit log when this call withdrew the consent. A call that succeeds counts towards `quotas`, and a retry does not.
    ///
    /// # Errors
    ///
    /// See [`ConsentError`].
    pub async fn withdraw(
        &self,
        caller: UserId,
        id: Uuid,
        request: &RequestKey,
        quotas: &[Quota],
        event: &NewAuditEvent<'_>,
        deadline: Deadline,
    ) -> Result<ConsentEntry, ConsentError> {
        match self
            .try_withdraw(caller, id, request, quotas, event, deadline)
            .await
        {
            Ok(entry) => Ok(entry),
            Err(error) => Err(self.explain(error, caller, deadline).await),
        }
    }

    async fn try_withdraw(
        &self,
        caller: UserId,
        id: Uuid,
        request: &RequestKey,
        quotas: &[Quota],
        event: &NewAuditEvent<'_>,
        deadline: Deadline,
    ) -> Result<ConsentEntry, ConsentError> {
        let mut tx = self
            .database
            .begin(METHOD, Context::User(caller), deadline)
            .await?;
        begin_change(&mut tx, caller).await?;
        if remember(&mut tx, caller, METHOD, request, id, event.at).await? {
            let withdrawn = sqlx::query_scalar!(
                // The clocks of replicas differ: the withdrawal must not be earlier than the grant.
                r#"
                SELECT /* WithdrawConsent */ identity.withdraw_consent(id, greatest($3, granted_at)) AS "withdrawn!"
                FROM identity.consents WHERE user_id = $1 AND id = $2"#,
                caller.as_uuid(),
                id,
                event.at,
            )
            .fetch_optional(&mut tx)
            .await
            .map_err(DbError::from)?;
            // The transaction is rolled back here, so the request is not remembered.
            if withdrawn.ok_or(ConsentError::NotFound)? {
                audit_log::append(&mut tx, event).await?;
            }
            admit(&mut tx, quotas).await?;
        } else {
            answered(&mut tx, caller, METHOD, request).await?;
        }
        let entry = entry(&mut tx, caller, id).await?;
        tx.commit().await?;
        // A withdrawn entry never changes again, so this is also the answer to a retry.
        entry.ok_or(ConsentError::NotFound)
    }
}
