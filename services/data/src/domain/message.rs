//! A message: one entry in a person's conversation with their coach.

use std::fmt;

use chrono::{DateTime, Utc};
use haven_platform::call::UserId;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::{
    crisis::MessageFinding,
    key_ring::KeyRing,
    sealing::{Cell, Field, OpenError, Sealed},
};

/// The text of a message: 1 to [`MessageText::MAX_CHARACTERS`] Unicode code points, exactly as the client sent it.
///
/// The text is wiped from memory when it is dropped, and `Debug` does not show it.
#[derive(Debug)]
pub struct MessageText(SecretString);

/// The reason why a string cannot be the text of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextProblem {
    /// The text is empty.
    Empty,
    /// The text has more than [`MessageText::MAX_CHARACTERS`] code points.
    TooLong,
}

/// The author of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SenderType {
    /// The person whom the conversation belongs to.
    User,
    /// The person's coach, for whom a service appends messages.
    Coach,
    /// The product itself, such as a notice that a service appends.
    System,
}

/// A message's number in its person's conversation: 1, 2, 3 and so on. Deleted messages leave gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MessageNumber(i64);

/// A range of messages; both ends are included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageRange {
    /// The number of the first message.
    pub first: MessageNumber,
    /// The number of the last message.
    pub last: MessageNumber,
}

/// A message, opened for its person.
#[derive(Debug)]
pub struct Message {
    /// The message's id, unique among its person's messages.
    pub id: Uuid,
    /// The message's number in the conversation.
    pub number: MessageNumber,
    /// The author of the message.
    pub sender: SenderType,
    /// The text of the message, opened.
    pub text: MessageText,
    /// The time at which the message was stored.
    pub created_at: DateTime<Utc>,
    /// The time of the last change.
    pub updated_at: DateTime<Utc>,
    /// The version: 1, and one more with each change.
    pub version: i64,
}

/// A message as it is stored: the text is sealed.
#[derive(Debug)]
pub struct SealedMessage {
    /// The message's id, unique among its person's messages.
    pub id: Uuid,
    /// The message's number in the conversation.
    pub number: MessageNumber,
    /// The author of the message.
    pub sender: SenderType,
    /// The text, sealed for the message's [`cell`].
    pub text: Sealed,
    /// The time at which the message was stored.
    pub created_at: DateTime<Utc>,
    /// The time of the last change.
    pub updated_at: DateTime<Utc>,
    /// The version: 1, and one more with each change.
    pub version: i64,
}

/// A message to append (AppendMessage).
#[derive(Debug)]
pub struct NewMessage {
    /// The message's id, unique among its person's messages.
    pub id: Uuid,
    /// The author: the person, or the coach or the product, for which a service speaks.
    pub sender: SenderType,
    /// The text, sealed for the message's [`cell`].
    pub text: Sealed,
    /// The time at which the message is stored.
    pub created_at: DateTime<Utc>,
    /// The finding of the crisis detector in a message of the person.
    pub finding: Option<MessageFinding>,
    /// The id of the analysis job, if this message creates one.
    pub job_id: Uuid,
}

/// A new text for a message (UpdateMessage).
#[derive(Debug)]
pub struct NewText {
    /// The message's id, unique among its person's messages.
    pub id: Uuid,
    /// The version that the change is based on.
    pub expected_version: i64,
    /// The new text, sealed for the message's [`cell`].
    pub text: Sealed,
    /// The time of the change.
    pub updated_at: DateTime<Utc>,
    /// The finding of the crisis detector in the new text.
    pub finding: Option<MessageFinding>,
}

/// Returns the cell of a message's text, which its seal is bound to.
pub fn cell(owner: UserId, id: Uuid) -> Cell {
    Cell {
        owner,
        row: id,
        field: Field::MessageText,
    }
}

// === impl MessageText ===

impl MessageText {
    /// The maximum number of Unicode code points in a message. 200 messages of this length, with four bytes per code
    /// point, fit into a response.
    pub const MAX_CHARACTERS: usize = 2_000;

    /// Checks the length of `text`. The text is neither trimmed nor normalised: the words are the person's.
    ///
    /// # Errors
    ///
    /// When the text is empty or too long.
    pub fn parse(text: impl Into<SecretString>) -> Result<Self, TextProblem> {
        let text = text.into();
        match text.expose_secret().chars().count() {
            0 => Err(TextProblem::Empty),
            1..=Self::MAX_CHARACTERS => Ok(Self(text)),
            _ => Err(TextProblem::TooLong),
        }
    }

    /// Returns the text itself, for sealing, for the crisis detector and for the response to its person.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

// === impl TextProblem ===

impl TextProblem {
    /// The violation's stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "MESSAGE_EMPTY",
            Self::TooLong => "MESSAGE_TOO_LONG",
        }
    }

    /// The violation's description, for developers.
    pub fn description(self) -> &'static str {
        match self {
            Self::Empty => "text must have at least 1 character",
            Self::TooLong => "text must have at most 2,000 characters, counted in Unicode code points",
        }
    }
}

// === impl SenderType ===

impl SenderType {
    /// The name under which the sender type is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Coach => "coach",
            Self::System => "system",
        }
    }

    /// Returns the sender type that is stored under `name`; `None` when no sender type has this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::User, Self::Coach, Self::System]
            .into_iter()
            .find(|sender| sender.as_str() == name)
    }
}

// === impl MessageNumber ===

impl MessageNumber {
    /// Returns the message number `number`; `None` when it is less than 1.
    pub fn new(number: i64) -> Option<Self> {
        (number >= 1).then_some(Self(number))
    }

    /// Returns the number as an integer, 1 or more.
    pub fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for MessageNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl SealedMessage ===

impl SealedMessage {
    /// Opens the message of `owner`.
    ///
    /// # Errors
    ///
    /// When the text was sealed for another person or message, or under a key that is not in the ring.
    pub fn open(self, keys: &KeyRing, owner: UserId) -> Result<Message, OpenError> {
        let text = keys.open(cell(owner, self.id), &self.text)?;
        Ok(Message {
            id: self.id,
            number: self.number,
            sender: self.sender,
            text: MessageText(text),
            created_at: self.created_at,
            updated_at: self.updated_at,
            version: self.version,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_1_to_2000_code_points() {
        assert_eq!(MessageText::parse("").unwrap_err(), TextProblem::Empty);
        assert_eq!(MessageText::parse(" ").unwrap().expose(), " ");
        for one in ["x", "é", "✓", "🎉", "\0", "\u{301}"] {
            assert!(MessageText::parse(one.repeat(2_000)).is_ok(), "{one:?}");
            let problem = MessageText::parse(one.repeat(2_001)).unwrap_err();
            assert_eq!(problem, TextProblem::TooLong, "{one:?}");
        }
    }

    #[test]
    fn length_is_counted_in_code_points_and_not_in_visible_characters() {
        // A single visible character, which has seven code points.
        let family = "👨‍👩‍👧‍👦";
        assert!(MessageText::parse(family.repeat(285)).is_ok());
        assert_eq!(
            MessageText::parse(family.repeat(286)).unwrap_err(),
            TextProblem::TooLong
        );
    }

    #[test]
    fn debug_does_not_show_a_text() {
        let text = MessageText::parse("canary").unwrap();
        assert!(!format!("{text:?}").contains("canary"));
    }

    #[test]
    fn a_sender_type_is_parsed_from_its_stored_name() {
        for sender in [SenderType::User, SenderType::Coach, SenderType::System] {
            assert_eq!(SenderType::from_name(sender.as_str()), Some(sender));
        }
        assert_eq!(SenderType::from_name("nurse"), None);
    }

    #[test]
    fn message_numbers_start_at_1() {
        assert_eq!(MessageNumber::new(0), None);
        assert_eq!(MessageNumber::new(1).map(MessageNumber::get), Some(1));
    }
}
