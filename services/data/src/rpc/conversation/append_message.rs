//! Appending a message: what somebody sends for it, parsed, who may name which sender, and what is answered.

use haven_platform::{
    call::Call,
    failure::{Failure, Violation},
    mac::MacKey,
    reason::Reason,
    violations::Violations,
};
use haven_proto::data::v1::{self as proto, AppendMessageRequest, AppendMessageResponse};
use uuid::Uuid;

use super::{super::DataRpc, answer, finding::finding, message as parsing};
use crate::{
    domain::message::{self, Message, MessageText, SenderType},
    store::{
        conversation::append_message::{AppendError, NewMessage},
        person_status::Unknown,
        request::RequestKey,
    },
};

/// A message that somebody wants to append.
#[derive(Debug)]
struct Append {
    sender: SenderType,
    text: MessageText,
    /// None: the server makes one up.
    id: Option<Uuid>,
    request: RequestKey,
}

impl DataRpc {
    pub(in crate::rpc) async fn append_message_of(
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
        let finding_in_text = match sender {
            SenderType::User => self.finding_in(&text).await,
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
            finding: finding_in_text,
            job_id: self.entropy.uuid_v7(&self.clock),
        };
        let appended = self
            .conversations
            .append(owner, call.deadline, &new, request)
            .await?;
        if appended.makes_job {
            self.new_jobs.notify();
        }
        if appended.finding.is_some() {
            self.new_crisis_events.notify();
        }
        // The sender and the text of a retry are those of the first request, or its keyed hash would be another.
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
            message: Some(answer(&message)),
            crisis: appended.finding.as_ref().map(finding),
        })
    }
}

impl Append {
    /// Parses what `call` brings.
    ///
    /// # Errors
    ///
    /// ACCESS_DENIED for a sender that is a service's to name, whatever else is wrong. INVALID_FIELD with everything
    /// that is wrong.
    fn parse(mut sent: AppendMessageRequest, call: &Call, requests: &MacKey) -> Result<Self, Failure> {
        let mut violations = Violations::new();
        let request = RequestKey::take(
            "AppendMessage",
            &mut sent,
            |sent| &mut sent.request_id,
            requests,
            &mut violations,
        );
        let id = violations.optional_uuid("message_id", &sent.message_id);
        let sender = sender(&sent).map_err(|violation| violations.add(violation)).ok();
        let text = parsing::message_text(sent.text, &mut violations);
        if matches!(sender, Some(SenderType::Coach | SenderType::System)) && call.caller.service.is_none() {
            return Err(Failure::new(Reason::AccessDenied));
        }
        let (sender, text) = violations.finish(sender.zip(text))?;
        Ok(Self {
            sender,
            text,
            id,
            request,
        })
    }
}

fn sender(request: &AppendMessageRequest) -> Result<SenderType, Violation> {
    match proto::SenderType::try_from(request.sender_type) {
        Ok(proto::SenderType::User) => Ok(SenderType::User),
        Ok(proto::SenderType::Coach) => Ok(SenderType::Coach),
        Ok(proto::SenderType::System) => Ok(SenderType::System),
        Ok(proto::SenderType::Unspecified) => Err(Violation::new(
            "sender_type",
            "REQUIRED",
            "Who says it is required here",
        )),
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

impl From<Unknown> for Failure {
    fn from(unknown: Unknown) -> Self {
        match unknown {
            Unknown::AccountNotReady => Self::new(Reason::AccountNotReady),
            Unknown::AccountErased => Self::new(Reason::AccountErased),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use haven_platform::{
        call::{Caller, ServiceName, User, UserId},
        deadline::Deadline,
        mac::SecretKey,
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
            },
            deadline: Deadline::after(Duration::from_secs(1)),
            network: None,
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
        let key = MacKey::derive(&SecretKey::new(Box::new([7; 32])), "requests");
        Append::parse(request, call, &key)
    }

    fn violations(request: AppendMessageRequest) -> Vec<(String, &'static str)> {
        let failure = parse(request, &call(false)).unwrap_err();
        assert_eq!(failure.reason(), Reason::InvalidField);
        let violations = failure.all_violations().iter();
        violations.map(|one| (one.field.clone(), one.name)).collect()
    }

    #[test]
    fn everything_wrong_with_a_message_is_reported_at_once() {
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
    fn an_enum_value_of_another_version_is_refused() {
        let request = AppendMessageRequest {
            sender_type: 99,
            ..request()
        };
        let expected = [("sender_type".to_owned(), "UNKNOWN_VALUE")];
        assert_eq!(violations(request), expected);
    }

    #[test]
    fn what_others_say_a_service_says() {
        let by = |sender: proto::SenderType| AppendMessageRequest {
            sender_type: sender.into(),
            ..request()
        };
        let (person, service) = (call(false), call(true));
        for caller in [&person, &service] {
            let append = parse(by(proto::SenderType::User), caller).unwrap();
            assert_eq!(append.sender, SenderType::User);
        }
        for (sent, sender) in [
            (proto::SenderType::Coach, SenderType::Coach),
            (proto::SenderType::System, SenderType::System),
        ] {
            assert_eq!(parse(by(sent), &service).unwrap().sender, sender);
            let wrong_too = AppendMessageRequest {
                text: String::new(),
                ..by(sent)
            };
            for request in [by(sent), wrong_too] {
                let failure = parse(request, &person).unwrap_err();
                assert_eq!(failure.reason(), Reason::AccessDenied, "{sender:?}");
            }
        }
    }

    #[test]
    fn a_request_is_known_by_all_of_its_content_but_its_id() {
        let mac = |request| parse(request, &call(true)).unwrap().request.payload_mac;
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
