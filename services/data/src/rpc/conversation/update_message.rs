//! UpdateMessage: replaces the text of one of the caller's own messages, if it has the expected version.

use haven_platform::{
    call::Call,
    failure::{Failure, Violation},
    handler::Handler,
    mac::MacKeys,
    request_key::RequestKey,
    violations::Violations,
};
use haven_proto::data::v1::{UpdateMessageRequest, UpdateMessageResponse};
use uuid::Uuid;

use super::{
    ConversationRpc,
    finding::finding_to_proto,
    message::{message_to_proto, parse_text},
};
use crate::domain::message::{self, Message, MessageText, NewText, SenderType};

/// The parsed [`UpdateMessageRequest`].
#[derive(Debug)]
struct Update {
    id: Uuid,
    text: MessageText,
    expected_version: i64,
    request: RequestKey,
}

impl Handler<UpdateMessageRequest> for ConversationRpc {
    type Answer = UpdateMessageResponse;

    async fn handle(
        &self,
        call: &Call,
        request: UpdateMessageRequest,
    ) -> Result<UpdateMessageResponse, Failure> {
        let owner = call.user()?;
        let Update {
            id,
            text,
            expected_version,
            request,
        } = Update::parse(request, &self.requests)?;
        let finding = self.detect(&text).await;
        let updated_at = self.clock.now();
        let new_text = NewText {
            id,
            expected_version,
            text: self
                .keys
                .seal(message::cell(owner, id), text.expose(), updated_at),
            updated_at,
            finding,
        };
        let updated = self
            .conversations
            .update(owner, &new_text, request, call.deadline)
            .await?;
        if updated.finding.is_some() {
            self.new_crisis_events.notify();
        }
        // A retry has the same id and text as the first request: otherwise its keyed hash would differ.
        let message = Message {
            id,
            number: updated.number,
            sender: SenderType::User,
            text,
            created_at: updated.created_at,
            updated_at: updated.updated_at,
            version: updated.version,
        };
        Ok(UpdateMessageResponse {
            message: Some(message_to_proto(&message)),
            crisis: updated.finding.as_ref().map(finding_to_proto),
        })
    }
}

impl Update {
    fn parse(mut request: UpdateMessageRequest, requests: &MacKeys) -> Result<Self, Failure> {
        let mut violations = Violations::new();
        let key = RequestKey::take(
            "UpdateMessage",
            &mut request,
            |request| &mut request.request_id,
            requests,
            &mut violations,
        );
        let id = violations.uuid("message_id", &request.message_id);
        let text = parse_text(request.text, &mut violations);
        if request.expected_version < 1 {
            let description = "expected_version is required, and must be at least 1";
            violations.add(Violation::new("expected_version", "REQUIRED", description));
        }
        Ok(Self {
            id,
            text: violations.finish(text)?,
            expected_version: request.expected_version,
            request: key,
        })
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

    fn update() -> UpdateMessageRequest {
        UpdateMessageRequest {
            message_id: ID.into(),
            text: "hello".into(),
            expected_version: 1,
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
        let failure = Update::parse(UpdateMessageRequest::default(), &key()).unwrap_err();
        let expected = [
            ("request_id", "REQUIRED"),
            ("message_id", "REQUIRED"),
            ("text", "MESSAGE_EMPTY"),
            ("expected_version", "REQUIRED"),
        ];
        assert_eq!(violations(&failure), expected);
        let wrong = UpdateMessageRequest {
            message_id: "x".into(),
            text: "x".repeat(2_001),
            expected_version: -1,
            ..update()
        };
        let failure = Update::parse(wrong, &key()).unwrap_err();
        let expected = [
            ("message_id", "NOT_A_UUID"),
            ("text", "MESSAGE_TOO_LONG"),
            ("expected_version", "REQUIRED"),
        ];
        assert_eq!(violations(&failure), expected);
    }

    #[test]
    fn a_payload_hash_covers_all_fields_but_the_request_id() {
        let mac = |request| Update::parse(request, &key()).unwrap().request.payload_macs;
        let first = mac(update());
        let another_id = UpdateMessageRequest {
            request_id: OTHER_ID.into(),
            ..update()
        };
        assert_eq!(first, mac(another_id));
        for other in [
            UpdateMessageRequest {
                message_id: OTHER_ID.into(),
                ..update()
            },
            UpdateMessageRequest {
                text: "hello ".into(),
                ..update()
            },
            UpdateMessageRequest {
                expected_version: 2,
                ..update()
            },
        ] {
            assert_ne!(first, mac(other));
        }
    }
}
