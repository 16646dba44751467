//! AppendMessage: stores a message at the end of the caller's conversation.

use haven_platform::{
    call::Call,
    failure::{Failure, Violation},
    handler::Handler,
    mac::MacKeys,
    reason::Reason,
    request_key::RequestKey,
    scopes::Scope,
    violations::Violations,
};
use haven_proto::data::v1::{self as proto, AppendMessageRequest, AppendMessageResponse};
use uuid::Uuid;

use super::{
    ConversationRpc,
    finding::finding_to_proto,
    message::{message_to_proto, parse_text},
};
use crate::{
    domain::message::{self, Message, MessageText, NewMessage, SenderType},
    store::conversation::append_message::AppendError,
};

/// The parsed [`AppendMessageRequest`].
#[derive(Debug)]
struct Append {
    sender: SenderType,
    text: MessageText,
    /// `None` when the server generates the id.
    id: Option<Uuid>,
    request: RequestKey,
}

impl Handler<AppendMessageRequest> for ConversationRpc {
    type Answer = AppendMessageResponse;

    async fn handle(
        &self,
        call: &Call,
        request: AppendMessageRequest,
    ) -> Result<AppendMessageResponse, Failure> {
        let owner = call.user()?;
        let Append {
            sender,
            text,
            id,
            request,
        } = Append::parse(request, call, &self.requests)?;
        let finding = match sender {
            SenderType::User => self.detect(&text).await,
            SenderType::Coach | SenderType::System => None,
        };
        let id = id.unwrap_or_else(|| self.entropy.uuid_v7(&self.clock));
        let created_at = self.clock.now();
        let new = NewMessage {
            id,
            sender,
            text: self
                .keys
                .seal(message::cell(owner, id), text.expose(), created_at),
            created_at,
            finding,
            job_id: self.entropy.uuid_v7(&self.clock),
        };
        let appended = self
            .conversations
            .append(owner, &new, request, call.deadline)
            .await?;
        if appended.created_job {
            self.new_jobs.notify();
        }
        if appended.finding.is_some() {
            self.new_crisis_events.notify();
        }
        // A retry has the same sender and text as the first request: otherwise its keyed hash would differ.
        let message = Message {
            id: appended.id,
            number: appended.number,
            sender,
            text,
            created_at: appended.created_at,
            updated_at: appended.created_at,
            version: 1,
        };
        Ok(AppendMessageResponse {
            message: Some(message_to_proto(&message)),
            crisis: appended.finding.as_ref().map(finding_to_proto),
        })
    }
}

impl Append {
    /// Parses `request`, which came with `call`.
    ///
    /// # Errors
    ///
    /// ACCESS_DENIED when the sender is COACH or SYSTEM and the caller is not a service with the scope `author`, even if
    /// other fields are invalid; INVALID_FIELD with all violations.
    fn parse(mut request: AppendMessageRequest, call: &Call, requests: &MacKeys) -> Result<Self, Failure> {
        let mut violations = Violations::new();
        let key = RequestKey::take(
            "AppendMessage",
            &mut request,
            |request| &mut request.request_id,
            requests,
            &mut violations,
        );
        let id = violations.optional_uuid("message_id", &request.message_id);
        let sender = parse_sender(request.sender_type)
            .map_err(|violation| violations.add(violation))
            .ok();
        let text = parse_text(request.text, &mut violations);
        if matches!(sender, Some(SenderType::Coach | SenderType::System)) {
            call.caller.require(Scope::Author)?;
        }
        let (sender, text) = violations.finish(sender.zip(text))?;
        Ok(Self {
            sender,
            text,
            id,
            request: key,
        })
    }
}

/// Parses the value of a sender_type field.
fn parse_sender(value: i32) -> Result<SenderType, Violation> {
    match proto::SenderType::try_from(value) {
        Ok(proto::SenderType::User) => Ok(SenderType::User),
        Ok(proto::SenderType::Coach) => Ok(SenderType::Coach),
        Ok(proto::SenderType::System) => Ok(SenderType::System),
        Ok(proto::SenderType::Unspecified) => Err(Violation::required("sender_type")),
        Err(_) => Err(Violation::unknown_value("sender_type")),
    }
}

impl From<AppendError> for Failure {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Unknown(unknown) => unknown.into(),
            AppendError::MessageExists => Self::new(Reason::RecordExists),
            AppendError::RequestIdReused => Self::new(Reason::RequestIdReused),
            AppendError::Database(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use haven_platform::{
        call::{Caller, ServiceName, User, UserId},
        deadline::Deadline,
        mac::SecretKeys,
        network::NetworkSource,
        scopes,
    };

    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
    const OTHER_ID: &str = "01890a5d-ac96-774b-bcce-b302099a8058";

    fn call(service: bool) -> Call {
        Call {
            caller: Caller {
                user: Some(User {
                    id: UserId::new(ID.parse().unwrap()),
                    session_id: None,
                    foreign: false,
                    valid_until: None,
                }),
                service: service.then(|| ServiceName::new("backend")),
                scopes: service.then_some(Scope::Author).into_iter().collect(),
            },
            deadline: Deadline::after(Duration::from_secs(1)),
            network: None,
            network_source: NetworkSource::Client,
        }
    }

    fn request() -> AppendMessageRequest {
        AppendMessageRequest {
            sender_type: proto::SenderType::User.into(),
            text: "hello".into(),
            message_id: String::new(),
            request_id: ID.into(),
        }
    }

    fn parse(request: AppendMessageRequest, call: &Call) -> Result<Append, Failure> {
        let key = MacKeys::derive(&SecretKeys::one([7; 32]), "requests");
        Append::parse(request, call, &key)
    }

    fn violations(request: AppendMessageRequest) -> Vec<(String, &'static str)> {
        let failure = parse(request, &call(false)).unwrap_err();
        assert_eq!(failure.reason(), Reason::InvalidField);
        let violations = failure.all_violations().iter();
        violations.map(|one| (one.field.clone(), one.name)).collect()
    }

    #[test]
    fn all_violations_are_reported_at_once() {
        let request = AppendMessageRequest {
            message_id: "x".into(),
            ..AppendMessageRequest::default()
        };
        let expected = [
            ("request_id", "REQUIRED"),
            ("message_id", "NOT_A_UUID"),
            ("sender_type", "REQUIRED"),
            ("text", "MESSAGE_EMPTY"),
        ];
        let expected = expected.map(|(field, name)| (field.to_owned(), name));
        assert_eq!(violations(request), expected);
    }

    #[test]
    fn an_unknown_sender_type_is_rejected() {
        let request = AppendMessageRequest {
            sender_type: 99,
            ..request()
        };
        let expected = [("sender_type".to_owned(), "UNKNOWN_VALUE")];
        assert_eq!(violations(request), expected);
    }

    #[test]
    fn only_authors_append_messages_of_the_coach_and_the_system() {
        let by = |sender: proto::SenderType| AppendMessageRequest {
            sender_type: sender.into(),
            ..request()
        };
        let (person, service) = (call(false), call(true));
        let mut without_author = call(true);
        without_author.caller.scopes = scopes::all().filter(|scope| *scope != Scope::Author).collect();
        for caller in [&person, &service] {
            let append = parse(by(proto::SenderType::User), caller).unwrap();
            assert_eq!(append.sender, SenderType::User);
        }
        for (value, sender) in [
            (proto::SenderType::Coach, SenderType::Coach),
            (proto::SenderType::System, SenderType::System),
        ] {
            assert_eq!(parse(by(value), &service).unwrap().sender, sender);
            let also_invalid = AppendMessageRequest {
                text: String::new(),
                ..by(value)
            };
            for request in [by(value), also_invalid] {
                for caller in [&person, &without_author] {
                    let failure = parse(request.clone(), caller).unwrap_err();
                    assert_eq!(failure.reason(), Reason::AccessDenied, "{sender:?}");
                }
            }
        }
    }

    #[test]
    fn a_payload_hash_covers_all_fields_but_the_request_id() {
        let mac = |request| parse(request, &call(true)).unwrap().request.payload_macs;
        let first = mac(request());
        let another_id = AppendMessageRequest {
            request_id: OTHER_ID.into(),
            ..request()
        };
        assert_eq!(first, mac(another_id));
        for other in [
            AppendMessageRequest {
                text: "hello ".into(),
                ..request()
            },
            AppendMessageRequest {
                message_id: OTHER_ID.into(),
                ..request()
            },
            AppendMessageRequest {
                sender_type: proto::SenderType::Coach.into(),
                ..request()
            },
        ] {
            assert_ne!(first, mac(other));
        }
    }
}
