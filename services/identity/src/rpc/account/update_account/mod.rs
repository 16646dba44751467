//! UpdateAccount: a person sets their goals, or a service moves them on.

mod parse;
#[cfg(test)]
mod tests;

use haven_platform::{call::Call, failure::Failure, handler::Handler, reason::Reason};
use haven_proto::identity::v1::{UpdateAccountRequest, UpdateAccountResponse};

use self::parse::AccountUpdate;
use super::{AccountRpc, account_message::account_message};
use crate::{
    domain::{account::AccountChange, progress::StepError},
    store::account::UpdateError,
};

impl Handler<UpdateAccountRequest> for AccountRpc {
    type Answer = UpdateAccountResponse;

    async fn handle(
        &self,
        call: &Call,
        request: UpdateAccountRequest,
    ) -> Result<UpdateAccountResponse, Failure> {
        let AccountUpdate { person, change, edit } =
            AccountUpdate::parse(request, call, &self.request_mac, self.clock.now())?;
        let account = match change {
            AccountChange::Goals(goals) => {
                self.ensure_account(call).await?;
                let quotas = self
                    .rate_limit_keys
                    .person_quota("Mutation", &self.mutation_limits, person);
                self.accounts
                    .set_goals(person, &goals, &quotas, &edit, call.deadline)
                    .await?
            }
            AccountChange::Step(step) => {
                let origin = self.audit_origins.of(call);
                self.accounts
                    .take_step(person, step, &edit, &origin, call.deadline)
                    .await?
            }
        };
        Ok(UpdateAccountResponse {
            account: Some(account_message(&account)),
        })
    }
}

impl From<UpdateError> for Failure {
    fn from(error: UpdateError) -> Self {
        match error {
            UpdateError::Account(error) => error.into(),
            UpdateError::VersionConflict { current } => {
                Self::new(Reason::VersionConflict).metadata("current_version", current.to_string())
            }
            UpdateError::Limited(error) => error.into(),
            UpdateError::RequestIdReused => Self::new(Reason::RequestIdReused),
            UpdateError::Step(StepError::StageNotNext) => {
                Self::field("account.stage", "STAGE_NOT_NEXT", parse::STAGE_NOT_NEXT)
            }
            UpdateError::Step(StepError::NotAtLastStage) => Self::field(
                "account.graduated",
                "NOT_AT_LAST_STAGE",
                "account.graduated can become true only at stage 3",
            ),
            UpdateError::Step(StepError::GraduatedAlready) => Self::field(
                "account.graduated",
                "GRADUATED_ALREADY",
                "account.graduated is true already",
            ),
        }
    }
}
