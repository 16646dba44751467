//! The SQL of ImportAccounts.

use chrono::{DateTime, Utc};
use haven_platform::{
    database::{Context, DbError},
    deadline::Deadline,
    mac::StoredMac,
};
use uuid::Uuid;

use super::Accounts;
use crate::domain::{
    audit::Origin,
    imported_account::{ImportOutcome, ImportedAccount},
};

impl Accounts {
    /// Stores an imported account, its consents, the message to data with the id `message_id` and the first audit event: all of
    /// it or nothing, and nothing when the account exists. The dispatcher delivers the message.
    ///
    /// # Errors
    ///
    /// When the database fails. The account may exist then: another import of it finds out.
    pub async fn import(
        &self,
        account: &ImportedAccount,
        message_id: Uuid,
        origin: &Origin,
        deadline: Deadline,
    ) -> Result<ImportOutcome, DbError> {
        let goals: Vec<&str> = account.goals.iter().map(|goal| goal.name()).collect();
        let consents = account.consents.iter();
        let consent_ids: Vec<Uuid> = consents.clone().map(|imported| imported.new.id).collect();
        let documents: Vec<&str> = consents
            .clone()
            .map(|imported| imported.new.consent.document())
            .collect();
        let versions: Vec<&str> = consents
            .clone()
            .map(|imported| imported.new.consent.version())
            .collect();
        let granted_at: Vec<DateTime<Utc>> = consents.map(|imported| imported.granted_at).collect();
        let mut tx = self
            .database
            .begin("ImportAccounts", Context::ServiceFor(account.id), deadline)
            .await?;
        let imported = sqlx::query_scalar!(
            r#"
            SELECT /* ImportAccounts */
                   identity.import_account($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) AS "outcome!""#,
            account.email.entered(),
            account.email.canonical(),
            account.email_verified_at,
            account.password_hash.expose(),
            &goals as _,
            &consent_ids,
            &documents as _,
            &versions as _,
            &granted_at,
            &account.macs.to_vecs() as &[Vec<u8>],
            message_id,
            origin.service.as_deref(),
            origin.network_mac.as_ref().map(StoredMac::as_bytes),
            account.at,
        )
        .fetch_one(&mut tx)
        .await
        .map_err(DbError::from);
        let outcome = match imported {
            Ok(name) => ImportOutcome::from_name(&name)
                .ok_or_else(|| DbError::unexpected("the outcome of an import has another name"))?,
            // The trigger that keeps an address for the account that may get it back; an account that was erased meanwhile.
            Err(error) => match error.constraint() {
                Some("users_email_canonical_key") => return Ok(ImportOutcome::EmailTaken),
                Some("erasures_pkey") => return Ok(ImportOutcome::Erased),
                _ => return Err(error),
            },
        };
        tx.commit().await?;
        Ok(outcome)
    }
}
