//! Changing a message, and deleting one: what somebody sends for it, parsed, and what is answered.

use haven_platform::{
    call::Call,
    failure::{Failure, Violation},
    mac::MacKey,
    reason::Reason,
    violations::Violations,
};
use haven_proto::data::v1::{
    DeleteMessageRequest, DeleteMessageResponse, UpdateMessageRequest, UpdateMessageResponse,
};
use uuid::Uuid;

use super::{super::DataRpc, answer, finding::finding, message as parsing};
use crate::{
    domain::message::{self, Message, MessageText, SenderType},
    store::{
        conversation::update_message::{ChangeError, NewText},
        request::RequestKey,
    },
};

/// A message that somebody wants to change.
#[derive(Debug)]
struct Update {
    id: Uuid,
    text: MessageText,
    expected_version: i64,
    request: RequestKey,
}

/// A message that somebody wants to delete.
#[derive(Debug)]
struct Delete {
    id: Uuid,
    request: RequestKey,
}

impl DataRpc {
    pub(in crate::rpc) async fn update_message_of(
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
        let finding_in_text = self.finding_in(&text).await;
        let updated_at = self.clock.now();
        let change = NewText {
            id,
            expected_version,
            text: self
                .keys
                .seal(message::cell(owner, id), text.expose(), updated_at),
            updated_at,
            finding: finding_in_text,
        };
        let changed = self
            .conversations
            .update(owner, call.deadline, &change, request)
            .await?;
        if changed.finding.is_some() {
            self.new_crisis_events.notify();
        }
        // The id and the text of a retry are those of the first request, or its keyed hash would be another.
        let message = Message {
            id,
            number: changed.number,
            sender: SenderType::User,
            text,
            created_at: changed.created_at,
            updated_at: changed.updated_at,
            version: changed.version,
        };
        Ok(UpdateMessageResponse {
            message: Some(answer(&message)),
            crisis: changed.finding.as_ref().map(finding),
        })
    }

    pub(in crate::rpc) async fn delete_message_of(
        &self,
        call: &Call,
        request: DeleteMessageRequest,
    ) -> Result<DeleteMessageResponse, Failure> {
        let owner = call.user()?;
        let Delete { id, request } = Delete::parse(request, &self.requests)?;
        self.conversations
            .delete(owner, call.deadline, id, self.clock.now(), request)
            .await?;
        Ok(DeleteMessageResponse {})
    }
}

impl Update {
    fn parse(mut sent: UpdateMessageRequest, requests: &MacKey) -> Result<Self, Failure> {
        let mut violations = Violations::new();
        let request = RequestKey::take(
            "UpdateMessage",
            &mut sent,
            |sent| &mut sent.request_id,
            requests,
            &mut violations,
        );
        let id = violations.uuid("message_id", &sent.message_id);
        let text = parsing::message_text(sent.text, &mut violations);
        if sent.expected_version < 1 {
            let description = "The version that the change is based on is required, 1 or more";
            violations.add(Violation::new("expected_version", "REQUIRED", description));
        }
        Ok(Self {
            id,
            text: violations.finish(text)?,
            expected_version: sent.expected_version,
            request,
        })
    }
}

impl Delete {
    fn parse(mut sent: DeleteMessageRequest, requests: &MacKey) -> Result<Self, Failure> {
        let mut violations = Violations::new();
        let request = RequestKey::take(
            "DeleteMessage",
            &mut sent,
            |sent| &mut sent.request_id,
            requests,
            &mut violations,
        );
        let id = violations.uuid("message_id", &sent.message_id);
        violations.check()?;
        Ok(Self { id, request })
    }
}

impl From<ChangeError> for Failure {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::NotFound => Self::new(Reason::NotFound),
            ChangeError::NotSaidByThem => Self::new(Reason::AccessDenied),
            ChangeError::VersionConflict { current } => {
                Self::new(Reason::VersionConflict).metadata("current_version", current.to_string())
            }
            ChangeError::RequestIdReused => Self::new(Reason::RequestIdReused),
            ChangeError::Database(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use haven_platform::mac::SecretKey;

    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
    const OTHER_ID: &str = "01890a5d-ac96-774b-bcce-b302099a8058";

    fn key() -> MacKey {
        MacKey::derive(&SecretKey::new(Box::new([7; 32])), "requests")
    }

    fn update() -> UpdateMessageRequest {
        UpdateMessageRequest {
            message_id: ID.into(),
            text: "hello".into(),
            expected_version: 1,
            request_id: ID.into(),
        }
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
    fn everything_wrong_is_reported_at_once() {
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
        let failure = Delete::parse(DeleteMessageRequest::default(), &key()).unwrap_err();
        let expected = [("request_id", "REQUIRED"), ("message_id", "REQUIRED")];
        assert_eq!(violations(&failure), expected);
    }

    #[test]
    fn a_request_is_known_by_all_of_its_content_but_its_id() {
        let mac = |request| Update::parse(request, &key()).unwrap().request.payload_mac;
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
        let mac = |request| Delete::parse(request, &key()).unwrap().request.payload_mac;
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
