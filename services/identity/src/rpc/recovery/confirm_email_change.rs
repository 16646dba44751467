//! ConfirmEmailChange: changes the address of an account.

use haven_platform::{
    call::Call, failure::Failure, handler::Handler, request_key::RequestKey, time::timestamp,
    violations::Violations,
};
use haven_proto::identity::v1::{ConfirmEmailChangeRequest, ConfirmEmailChangeResponse};

use super::{RecoveryRpc, count, found::Found, token};
use crate::{
    domain::recovery::{RecoveryKind, TokenUse},
    store::recovery::UseError,
};

const METHOD: &str = "ConfirmEmailChange";

impl Handler<ConfirmEmailChangeRequest> for RecoveryRpc {
    type Answer = ConfirmEmailChangeResponse;

    async fn handle(
        &self,
        call: &Call,
        mut message: ConfirmEmailChangeRequest,
    ) -> Result<ConfirmEmailChangeResponse, Failure> {
        const KIND: RecoveryKind = RecoveryKind::EmailChange;
        self.check_provider()?;
        let mut violations = Violations::new();
        let request = RequestKey::take(
            METHOD,
            &mut message,
            |message| &mut message.request_id,
            &self.request_mac,
            &mut violations,
        );
        let token = token::parse(message.token, &mut violations);
        let token = violations.finish(token)?;
        let method = (METHOD, &request);
        let used = match self.find(call, &token, KIND, method, None).await? {
            Found::Retry(retry) => retry.used,
            Found::Token(found) => {
                let using = TokenUse {
                    user_id: found.user_id,
                    token_id: found.id,
                    request: &request,
                    origin: &self.audit_origins.of(call),
                    at: self.clock.now(),
                };
                match self.recovery.confirm_email_change(&using, call.deadline).await {
                    Err(UseError::Outdated) => {
                        self.first_answer(call, &token, KIND, method, None).await?.used
                    }
                    used => {
                        let used = used?;
                        count(KIND, "used");
                        used
                    }
                }
            }
        };
        Ok(ConfirmEmailChangeResponse {
            change_time: Some(timestamp(used.at()?)),
        })
    }
}
