//! UndoEmailChange: gives an account its old address back, and ends its password.

use haven_platform::{
    call::Call, failure::Failure, handler::Handler, mac::MacKey, request_key::RequestKey, time::timestamp,
    violations::Violations,
};
use haven_proto::identity::v1::{UndoEmailChangeRequest, UndoEmailChangeResponse};

use super::{RecoveryRpc, count, found::Found, token};
use crate::{
    domain::recovery::{EmailUndo, RecoveryKind, RecoveryToken, TokenUse},
    store::recovery::UseError,
};

const METHOD: &str = "UndoEmailChange";

impl Handler<UndoEmailChangeRequest> for RecoveryRpc {
    type Answer = UndoEmailChangeResponse;

    async fn handle(
        &self,
        call: &Call,
        mut message: UndoEmailChangeRequest,
    ) -> Result<UndoEmailChangeResponse, Failure> {
        const KIND: RecoveryKind = RecoveryKind::EmailUndo;
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
        let (used, person, key) = match self.find(call, &token, KIND, method, None).await? {
            Found::Retry(retry) => (retry.used, retry.found.user_id, Some(retry.key)),
            Found::Token(found) => {
                let derive = |key: &MacKey| RecoveryToken::of_undo(key, found.user_id, request.id);
                let undo = EmailUndo {
                    token: TokenUse {
                        user_id: found.user_id,
                        token_id: found.id,
                        request: &request,
                        origin: &self.audit_origins.of(call),
                        at: self.clock.now(),
                    },
                    hash: &self.passwords.unmatched()?,
                    reset: self.new_token(derive, self.lifetimes.password_reset),
                };
                match self.recovery.undo_email_change(&undo, call.deadline).await {
                    Err(UseError::Outdated) => {
                        let retry = self.first_answer(call, &token, KIND, method, None).await?;
                        (retry.used, retry.found.user_id, Some(retry.key))
                    }
                    undone => {
                        let undone = undone?;
                        for session in undone.ended {
                            self.ended_sessions.add(found.user_id, session);
                        }
                        count(KIND, "used");
                        count(RecoveryKind::PasswordReset, "created");
                        (undone.used, found.user_id, None)
                    }
                }
            }
        };
        let derive = |key: &MacKey| RecoveryToken::of_undo(key, person, request.id);
        Ok(UndoEmailChangeResponse {
            undo_time: Some(timestamp(used.at()?)),
            ended_sessions: used.ended_sessions,
            reset_token: self.token_text(derive, key),
            reset_token_expire_time: Some(timestamp(used.reset_expires_at()?)),
        })
    }
}
