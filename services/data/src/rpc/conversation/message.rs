//! Messages: parsing of their fields, and conversion to the response message.

use haven_platform::{
    call::UserId,
    failure::{Failure, Violation},
    reason::Reason,
    time::timestamp,
    violations::Violations,
};
use haven_proto::data::v1 as proto;

use super::ConversationRpc;
use crate::domain::message::{Message, MessageNumber, MessageText, SealedMessage, SenderType};

impl ConversationRpc {
    /// Opens a message of `owner`, and converts it to the response message.
    pub(super) fn open_message(
        &self,
        owner: UserId,
        sealed: SealedMessage,
    ) -> Result<proto::Message, Failure> {
        let message = sealed.open(&self.keys, owner).map_err(Failure::internal)?;
        Ok(message_to_proto(&message))
    }
}

/// Parses the text of a message. `None` when it is invalid, which adds a violation.
pub(super) fn parse_text(text: String, violations: &mut Violations) -> Option<MessageText> {
    MessageText::parse(text)
        .map_err(|problem| violations.add(Violation::new("text", problem.name(), problem.description())))
        .ok()
}

/// Converts a keyset cursor, the number of a page's last message, as it is in a page token.
///
/// # Errors
///
/// PAGE_TOKEN_INVALID when it is less than 1.
pub(in crate::rpc) fn number_from_cursor(cursor: [u8; 8]) -> Result<MessageNumber, Failure> {
    let number = MessageNumber::new(i64::from_be_bytes(cursor));
    number.ok_or_else(|| Failure::new(Reason::PageTokenInvalid))
}

/// Converts an opened message to the response message.
pub(in crate::rpc) fn message_to_proto(message: &Message) -> proto::Message {
    let sender_type = match message.sender {
        SenderType::User => proto::SenderType::User,
        SenderType::Coach => proto::SenderType::Coach,
        SenderType::System => proto::SenderType::System,
    };
    proto::Message {
        id: message.id.to_string(),
        number: message.number.get(),
        sender_type: sender_type.into(),
        text: message.text.expose().to_owned(),
        create_time: Some(timestamp(message.created_at)),
        update_time: Some(timestamp(message.updated_at)),
        version: message.version,
    }
}
