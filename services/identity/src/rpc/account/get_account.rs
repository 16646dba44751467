//! GetAccount: returns an account to its person or to a service.

use haven_platform::{call::Call, failure::Failure, handler::Handler, violations::Violations};
use haven_proto::identity::v1::{GetAccountRequest, GetAccountResponse};

use super::{
    AccountRpc,
    account_access::{acting_as, parse_user_id},
    account_message::account_message,
};
use crate::store::account::AccountError;

impl Handler<GetAccountRequest> for AccountRpc {
    type Answer = GetAccountResponse;

    async fn handle(&self, call: &Call, request: GetAccountRequest) -> Result<GetAccountResponse, Failure> {
        let mut violations = Violations::new();
        let person = parse_user_id(call, "user_id", &request.user_id, &mut violations);
        violations.check()?;
        let acting_as = acting_as(call, person)?;
        let account = match self.accounts.get(acting_as, person, call.deadline).await {
            Err(AccountError::NotFound) if self.gets_external_account(call) => {
                self.ensure_account(call).await?;
                self.accounts.get(acting_as, person, call.deadline).await?
            }
            outcome => outcome?,
        };
        Ok(GetAccountResponse {
            account: Some(account_message(&account)),
        })
    }
}
