//! What several requests have in common. Everything that is wrong with a request is reported at once.

use std::mem;

use haven_platform::{
    failure::{Failure, Violation},
    fields::Fields,
    mac::MacKey,
    page::PageSize,
    reason::Reason,
};
use prost::Message;
use secrecy::zeroize::Zeroizing;

use crate::{
    domain::message::{MessageNumber, MessageText},
    store::request::RequestKey,
};

/// What cannot be: a field that has no value, and of which nothing was said to be wrong.
pub(super) const UNSAID: &str = "a field has neither a value nor a violation";

/// What makes a retry of `sent` known as one: its `id`, which is taken out of it, and a keyed hash of everything else.
/// To be asked for before anything else is taken out. Where something is wrong with the id, it is among `fields`.
pub(super) fn request_key<T: Message>(
    method: &'static str,
    sent: &mut T,
    id: impl FnOnce(&mut T) -> &mut String,
    requests: &MacKey,
    fields: &mut Fields,
) -> RequestKey {
    let id = mem::take(id(sent));
    let payload = Zeroizing::new(sent.encode_to_vec());
    RequestKey {
        id: fields.uuid("request_id", &id),
        payload_mac: requests.mac(&[method.as_bytes(), &payload]),
    }
}

/// How much is to be on a page. None: it is among what is wrong.
pub(super) fn page_size(asked: i32, fields: &mut Fields) -> Option<PageSize> {
    let size = PageSize::parse(asked);
    if size.is_none() {
        let description = "This has to be 0 or more";
        fields.violate(Violation::new("page_size", "NEGATIVE", description));
    }
    size
}

/// The same for a request of which nothing else is parsed.
pub(super) fn page_size_alone(asked: i32) -> Result<PageSize, Failure> {
    let mut fields = Fields::new();
    let size = page_size(asked, &mut fields);
    fields.check()?;
    size.ok_or_else(|| Failure::internal(UNSAID))
}

/// The number of the message that a page ended with, out of its token.
pub(super) fn last_number(cursor: [u8; 8]) -> Result<MessageNumber, Failure> {
    let number = MessageNumber::new(i64::from_be_bytes(cursor));
    number.ok_or_else(|| Failure::new(Reason::PageTokenInvalid))
}

/// The text of a message. None: it is among what is wrong.
pub(super) fn message_text(text: String, fields: &mut Fields) -> Option<MessageText> {
    MessageText::parse(text)
        .map_err(|problem| fields.violate(Violation::new("text", problem.name(), problem.description())))
        .ok()
}

/// An enum's value that there is not, or not yet.
pub(super) fn unknown(field: impl Into<String>) -> Violation {
    Violation::new(field, "UNKNOWN_VALUE", "This has to be one of the enum's values")
}
