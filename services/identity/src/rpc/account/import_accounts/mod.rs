//! ImportAccounts: creates accounts with the password hashes of another system.

mod parse;

use std::time::Duration;

use futures_util::{StreamExt, stream};
use haven_platform::{
    call::Call,
    failure::{Failure, Violation},
    handler::UploadHandler,
    reason::{self, Reason},
};
use haven_proto::identity::v1::{
    ImportAccountsRequest, ImportAccountsResponse, ImportOutcome as Outcome, ImportViolation, ImportedAccount,
};
use tonic::{Status, Streaming};

use super::AccountRpc;
use crate::domain::{
    imported_account::{ImportOutcome, MAX_ACCOUNTS, MAX_VIOLATIONS},
    provider::AuthProvider,
};

/// The number of accounts of a call that are stored at once, each in a transaction of its own: few, so that other calls find
/// connections.
const AT_ONCE: usize = 4;

/// The maximum time for one account, which a call of many must not make longer.
const TIMEOUT: Duration = Duration::from_secs(30);

impl UploadHandler<ImportAccountsRequest> for AccountRpc {
    type Answer = ImportAccountsResponse;

    async fn receive(
        &self,
        call: &Call,
        requests: Streaming<ImportAccountsRequest>,
    ) -> Result<ImportAccountsResponse, Status> {
        if self.provider == AuthProvider::External {
            return Err(Failure::new(Reason::AuthProviderExternal).into());
        }
        let counted = stream::try_unfold((requests, 0), |(mut requests, count)| async move {
            match requests.message().await? {
                Some(_) if count == MAX_ACCOUNTS => Err(too_many()),
                Some(request) => Ok(Some((request, (requests, count + 1)))),
                None => Ok(None),
            }
        });
        // Outcomes are in the order of the requests.
        let mut outcomes =
            counted
                .map(|request: Result<_, Status>| async move {
                    Ok::<_, Status>(self.import(call, request?).await?)
                })
                .buffered(AT_ONCE)
                .boxed();
        let mut response = ImportAccountsResponse::default();
        while let Some(imported) = outcomes.next().await {
            let imported = imported?;
            let counter = match imported.outcome() {
                Outcome::Created => &mut response.created_count,
                Outcome::Exists => &mut response.existing_count,
                Outcome::Refused | Outcome::Unspecified => &mut response.refused_count,
            };
            *counter += 1;
            response.accounts.push(imported);
        }
        Ok(response)
    }
}

fn too_many() -> Status {
    const RULE: &str = "a call must have at most 5,000 requests: send the others in further calls";
    Failure::field("accounts", "TOO_MANY", RULE).into()
}

impl AccountRpc {
    /// Imports one account.
    ///
    /// # Errors
    ///
    /// When the database fails.
    async fn import(&self, call: &Call, request: ImportAccountsRequest) -> Result<ImportedAccount, Failure> {
        let account = match self.parse_import(request) {
            Ok(account) => account,
            Err((user_id, violations)) => return Ok(refused_for(user_id, &violations)),
        };
        let user_id = account.id.to_string();
        let message_id = self.entropy.uuid_v7(&self.clock);
        let origin = self.audit_origins.of(call);
        let deadline = call.deadline.at_most(TIMEOUT);
        let outcome = match self
            .accounts
            .import(&account, message_id, &origin, deadline)
            .await?
        {
            ImportOutcome::Created => Outcome::Created,
            ImportOutcome::Exists => Outcome::Exists,
            ImportOutcome::Differs => return Ok(refused(user_id, Reason::RecordExists)),
            ImportOutcome::EmailTaken => return Ok(refused(user_id, Reason::EmailTaken)),
            ImportOutcome::Erased => return Ok(refused(user_id, Reason::AccountErased)),
        };
        Ok(ImportedAccount {
            user_id,
            outcome: outcome.into(),
            ..ImportedAccount::default()
        })
    }
}

fn refused(user_id: String, reason: Reason) -> ImportedAccount {
    ImportedAccount {
        user_id,
        outcome: Outcome::Refused.into(),
        reason: reason::name(reason).to_owned(),
        violations: Vec::new(),
    }
}

fn refused_for(user_id: String, violations: &[Violation]) -> ImportedAccount {
    let reason = match violations.iter().all(|violation| violation.field == "email") {
        true => Reason::EmailInvalid,
        false => Reason::InvalidField,
    };
    let first = violations.iter().take(MAX_VIOLATIONS);
    ImportedAccount {
        violations: first
            .map(|violation| ImportViolation {
                field: violation.field.clone(),
                name: violation.name.to_owned(),
                description: violation.description.clone().into_owned(),
            })
            .collect(),
        ..refused(user_id, reason)
    }
}
