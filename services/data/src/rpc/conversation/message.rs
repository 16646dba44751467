//! What several requests have in common. Everything that is wrong with a request is reported at once.

use haven_platform::{
    failure::{Failure, Violation},
    reason::Reason,
    violations::Violations,
};

use crate::domain::message::{MessageNumber, MessageText};

/// The number of the message that a page ended with, out of its token.
pub(in crate::rpc) fn last_number(cursor: [u8; 8]) -> Result<MessageNumber, Failure> {
    let number = MessageNumber::new(i64::from_be_bytes(cursor));
    number.ok_or_else(|| Failure::new(Reason::PageTokenInvalid))
}

/// The text of a message. None: it is among what is wrong.
pub(in crate::rpc) fn message_text(text: String, violations: &mut Violations) -> Option<MessageText> {
    MessageText::parse(text)
        .map_err(|problem| violations.add(Violation::new("text", problem.name(), problem.description())))
        .ok()
}
