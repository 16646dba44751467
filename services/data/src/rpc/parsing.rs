//! From requests about messages to domain types. Everything that is wrong with a request is reported at once.

use std::mem;

use haven_platform::{
    failure::{Failure, Violation},
    fields::Fields,
    mac::MacKey,
    page::PageSize,
};
use haven_proto::data::v1::{self as proto, AppendMessageRequest, GetMessageRequest, ListMessagesRequest};
use prost::Message as _;
use secrecy::zeroize::Zeroizing;
use uuid::Uuid;

use crate::{
    domain::{
        listing::MessageOrder,
        message::{MessageText, SenderType},
    },
    store::request::RequestKey,
};

/// A message that somebody wants to append.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) sender: SenderType,
    pub(super) text: MessageText,
    /// None: the server makes one up.
    pub(super) id: Option<Uuid>,
    pub(super) request: RequestKey,
}

/// A page that somebody wants to see. Its token is not opened yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct List {
    pub(super) order: MessageOrder,
    pub(super) size: PageSize,
    pub(super) token: String,
}

pub(super) fn append(mut request: AppendMessageRequest, requests: &MacKey) -> Result<Append, Failure> {
    let mut fields = Fields::new();
    let request_id = fields.uuid("request_id", &mem::take(&mut request.request_id));
    let payload = Zeroizing::new(request.encode_to_vec());
    let id = fields.optional_uuid("message_id", &request.message_id);
    let sender = sender(&request)
        .map_err(|violation| fields.violate(violation))
        .ok();
    let text = MessageText::parse(request.text)
        .map_err(|problem| fields.violate(Violation::new("text", problem.name(), problem.description())))
        .ok();
    fields.check()?;
    let (sender, text) = sender.zip(text).ok_or_else(|| Failure::internal(UNSAID))?;
    let request = RequestKey {
        id: request_id,
        payload_mac: requests.mac(&[b"AppendMessage", &payload]),
    };
    Ok(Append {
        sender,
        text,
        id,
        request,
    })
}

pub(super) fn get(request: &GetMessageRequest) -> Result<Uuid, Failure> {
    let mut fields = Fields::new();
    let id = fields.uuid("message_id", &request.message_id);
    fields.check()?;
    Ok(id)
}

pub(super) fn list(request: ListMessagesRequest) -> Result<List, Failure> {
    let mut fields = Fields::new();
    let size = PageSize::parse(request.page_size);
    if size.is_none() {
        fields.violate(Violation::new(
            "page_size",
            "NEGATIVE",
            "A page cannot have fewer than no messages",
        ));
    }
    let order = order(&request)
        .map_err(|violation| fields.violate(violation))
        .ok();
    fields.check()?;
    let (size, order) = size.zip(order).ok_or_else(|| Failure::internal(UNSAID))?;
    Ok(List {
        order,
        size,
        token: request.page_token,
    })
}

/// What cannot be: a field that has no value, and of which nothing was said to be wrong.
const UNSAID: &str = "a field has neither a value nor a violation";

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
        Err(_) => Err(unknown("sender_type")),
    }
}

fn order(request: &ListMessagesRequest) -> Result<MessageOrder, Violation> {
    match proto::MessageOrder::try_from(request.order) {
        Ok(proto::MessageOrder::Unspecified | proto::MessageOrder::OldestFirst) => {
            Ok(MessageOrder::OldestFirst)
        }
        Ok(proto::MessageOrder::NewestFirst) => Ok(MessageOrder::NewestFirst),
        Err(_) => Err(unknown("order")),
    }
}

fn unknown(field: &'static str) -> Violation {
    Violation::new(field, "UNKNOWN_VALUE", "This has to be one of the enum's values")
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

    fn request() -> AppendMessageRequest {
        AppendMessageRequest {
            sender_type: proto::SenderType::User.into(),
            text: "hello".into(),
            message_id: String::new(),
            request_id: ID.into(),
        }
    }

    fn violations(failure: &Failure) -> Vec<(&str, &str)> {
        failure
            .all_violations()
            .iter()
            .map(|v| (v.field.as_str(), v.name))
            .collect()
    }

    #[test]
    fn everything_wrong_with_a_message_is_reported_at_once() {
        let request = AppendMessageRequest {
            message_id: "x".into(),
            ..AppendMessageRequest::default()
        };
        let failure = append(request, &key()).unwrap_err();
        let expected = [
            ("request_id", "REQUIRED"),
            ("message_id", "NOT_A_UUID"),
            ("sender_type", "REQUIRED"),
            ("text", "MESSAGE_EMPTY"),
        ];
        assert_eq!(violations(&failure), expected);
    }

    #[test]
    fn an_enum_value_of_another_version_is_refused() {
        let failure = append(
            AppendMessageRequest {
                sender_type: 99,
                ..request()
            },
            &key(),
        )
        .unwrap_err();
        assert_eq!(violations(&failure), [("sender_type", "UNKNOWN_VALUE")]);
        let failure = list(ListMessagesRequest {
            order: -1,
            page_size: -1,
            ..Default::default()
        })
        .unwrap_err();
        assert_eq!(
            violations(&failure),
            [("page_size", "NEGATIVE"), ("order", "UNKNOWN_VALUE")]
        );
    }

    #[test]
    fn a_request_is_known_by_all_of_its_content_but_its_id() {
        let mac = |request| append(request, &key()).unwrap().request.payload_mac;
        let first = mac(request());
        assert_eq!(
            first,
            mac(AppendMessageRequest {
                request_id: OTHER_ID.into(),
                ..request()
            })
        );
        assert_ne!(
            first,
            mac(AppendMessageRequest {
                text: "hello ".into(),
                ..request()
            })
        );
        assert_ne!(
            first,
            mac(AppendMessageRequest {
                message_id: OTHER_ID.into(),
                ..request()
            })
        );
        let sender_type = proto::SenderType::Coach.into();
        assert_ne!(
            first,
            mac(AppendMessageRequest {
                sender_type,
                ..request()
            })
        );
    }

    #[test]
    fn a_list_begins_with_the_oldest_unless_said() {
        let plain = list(ListMessagesRequest::default()).unwrap();
        assert_eq!(
            (plain.order, plain.size.get()),
            (MessageOrder::OldestFirst, PageSize::DEFAULT)
        );
        let order = proto::MessageOrder::NewestFirst.into();
        let newest = list(ListMessagesRequest {
            order,
            page_size: 1000,
            page_token: "t".into(),
        })
        .unwrap();
        assert_eq!(
            (newest.order, newest.size.get()),
            (MessageOrder::NewestFirst, PageSize::MAX)
        );
        assert_eq!(newest.token, "t");
    }
}
