//! GetMessage: reads one of the caller's messages.

use haven_platform::{
    call::Call, failure::Failure, handler::Handler, reason::Reason, violations::Violations,
};
use haven_proto::data::v1::{GetMessageRequest, GetMessageResponse};

use super::ConversationRpc;

impl Handler<GetMessageRequest> for ConversationRpc {
    type Answer = GetMessageResponse;

    async fn handle(&self, call: &Call, request: GetMessageRequest) -> Result<GetMessageResponse, Failure> {
        let owner = call.user()?;
        let mut violations = Violations::new();
        let id = violations.uuid("message_id", &request.message_id);
        violations.check()?;
        let sealed = self.conversations.get(owner, id, call.deadline).await?;
        let sealed = sealed.ok_or_else(|| Failure::new(Reason::NotFound))?;
        Ok(GetMessageResponse {
            message: Some(self.open_message(owner, sealed)?),
        })
    }
}
