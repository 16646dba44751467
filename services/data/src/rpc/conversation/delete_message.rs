//! DeleteMessage: deletes one of the caller's messages.

use haven_platform::{
    call::Call, failure::Failure, handler::Handler, mac::MacKeys, request_key::RequestKey,
    violations::Violations,
};
use haven_proto::data::v1::{DeleteMessageRequest, DeleteMessageResponse};
use uuid::Uuid;

use super::ConversationRpc;

/// The parsed [`DeleteMessageRequest`].
#[derive(Debug)]
struct Delete {
    id: Uuid,
    request: RequestKey,
}

impl Handler<DeleteMessageRequest> for ConversationRpc {
    type Answer = DeleteMessageResponse;

    async fn handle(
        &self,
        call: &Call,
        request: DeleteMessageRequest,
    ) -> Result<DeleteMessageResponse, Failure> {
        let owner = call.user()?;
        let Delete { id, request } = Delete::parse(request, &self.requests)?;
        self.conversations
            .delete(owner, id, request, self.clock.now(), call.deadline)
            .await?;
        Ok(DeleteMessageResponse {})
    }
}

impl Delete {
    fn parse(mut request: DeleteMessageRequest, requests: &MacKeys) -> Result<Self, Failure> {
        let mut violations = Violations::new();
        let key = RequestKey::take(
            "DeleteMessage",
            &mut request,
            |request| &mut request.request_id,
            requests,
            &mut violations,
        );
        let id = violations.uuid("message_id", &request.message_id);
        violations.check()?;
        Ok(Self { id, request: key })
    }
}

#[cfg(test)]
mod tests {
    use haven_platform::{mac::SecretKeys, reason::Reason};

    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
    const OTHER_ID: &str = "01890a5d-ac96-774b-bcce-b302099a8058";

    fn key() -> MacKeys {
        MacKeys::derive(&SecretKeys::one([7; 32]), "requests")
    }

    fn delete() -> DeleteMessageRequest {
        DeleteMessageRequest {
            message_id: ID.into(),
            request_id: ID.into(),
        }
    }

    fn violations(failure: &Failure) -> Vec<(&str, &str)> {
        assert_eq!(failure.reason(), Reason::InvalidField);
        let violations = failure.all_violations().iter();
        violations.map(|one| (one.field.as_str(), one.name)).collect()
    }

    #[test]
    fn all_violations_are_reported_at_once() {
        let failure = Delete::parse(DeleteMessageRequest::default(), &key()).unwrap_err();
        let expected = [("request_id", "REQUIRED"), ("message_id", "REQUIRED")];
        assert_eq!(violations(&failure), expected);
    }

    #[test]
    fn a_payload_hash_covers_all_fields_but_the_request_id() {
        let mac = |request| Delete::parse(request, &key()).unwrap().request.payload_macs;
        let first = mac(delete());
        let another_id = DeleteMessageRequest {
            request_id: OTHER_ID.into(),
            ..delete()
        };
        assert_eq!(first, mac(another_id));
        let another_message = DeleteMessageRequest {
            message_id: OTHER_ID.into(),
            ..delete()
        };
        assert_ne!(first, mac(another_message));
    }
}
