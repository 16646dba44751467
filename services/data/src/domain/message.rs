//! A message: one thing that was said in a person's conversation with their coach.

use std::fmt;

use chrono::{DateTime, Utc};
use haven_platform::call::UserId;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::{
    key_ring::KeyRing,
    sealing::{Cell, Field, OpenError, Sealed},
};

/// What was said: 1 to [`MessageText::MAX_CHARACTERS`] Unicode code points, exactly as it was sent.
///
/// It is wiped from memory when dropped, and `Debug` does not show it.
#[derive(Debug)]
pub struct MessageText(SecretString);

impl MessageText {
    /// The most Unicode code points that a message may have. 200 such messages, of four bytes each, fit into an answer.
    pub const MAX_CHARACTERS: usize = 2_000;

    /// Takes a text as it is: nothing is trimmed or normalised, because the words are the person's.
    ///
    /// # Errors
    ///
    /// When it is empty or too long.
    pub fn parse(text: impl Into<SecretString>) -> Result<Self, TextProblem> {
        let text = text.into();
        match text.expose_secret().chars().count() {
            0 => Err(TextProblem::Empty),
            1..=Self::MAX_CHARACTERS => Ok(Self(text)),
            _ => Err(TextProblem::TooLong),
        }
    }

    /// The text itself, for sealing and for the answer to the person whose it is.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// Why something cannot be the text of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextProblem {
    /// There is nothing in it.
    Empty,
    /// It has more than [`MessageText::MAX_CHARACTERS`] code points.
    TooLong,
}

impl TextProblem {
    /// The stable name of the violation.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "MESSAGE_EMPTY",
            Self::TooLong => "MESSAGE_TOO_LONG",
        }
    }

    /// The violation, for a developer to read.
    pub fn description(self) -> &'static str {
        match self {
            Self::Empty => "A message needs at least one character.",
            Self::TooLong => "A message may have at most 2000 characters, counted in Unicode code points.",
        }
    }
}

/// Who said something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SenderType {
    /// The person.
    User,
    /// The coach.
    Coach,
    /// The product itself.
    System,
}

impl SenderType {
    /// The name under which it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Coach => "coach",
            Self::System => "system",
        }
    }

    /// The sender that is stored under `name`, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::User, Self::Coach, Self::System]
            .into_iter()
            .find(|sender| sender.as_str() == name)
    }
}

/// A message's place in its person's conversation: 1, 2, 3 and so on, without gaps but for what was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MessageNumber(i64);

impl MessageNumber {
    /// The place `number`, if there is such a place: they begin at 1.
    pub fn new(number: i64) -> Option<Self> {
        (number >= 1).then_some(Self(number))
    }

    /// The number.
    pub fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for MessageNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A message as its person sees it.
#[derive(Debug)]
pub struct Message {
    /// Its id, unique among its person's messages.
    pub id: Uuid,
    /// Its place in the conversation.
    pub number: MessageNumber,
    /// Who said it.
    pub sender: SenderType,
    /// What was said.
    pub text: MessageText,
    /// When it was stored.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// 1, and one more with each change.
    pub version: i64,
}

/// A message as it is stored: the text is sealed.
#[derive(Debug)]
pub struct SealedMessage {
    /// As [`Message::id`].
    pub id: Uuid,
    /// As [`Message::number`].
    pub number: MessageNumber,
    /// As [`Message::sender`].
    pub sender: SenderType,
    /// The sealed text.
    pub text: Sealed,
    /// As [`Message::created_at`].
    pub created_at: DateTime<Utc>,
    /// As [`Message::updated_at`].
    pub updated_at: DateTime<Utc>,
    /// As [`Message::version`].
    pub version: i64,
}

impl SealedMessage {
    /// Opens the message of `owner`.
    ///
    /// # Errors
    ///
    /// When the text was not sealed for this person's message of this id, or under no key of the ring.
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

/// Where the text of a message is kept: what its seal is bound to.
pub fn cell(owner: UserId, id: Uuid) -> Cell {
    Cell {
        owner,
        row: id,
        field: Field::MessageText,
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
    fn code_points_are_counted_and_not_what_they_look_like() {
        // One family on the screen, of seven code points.
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
    fn a_sender_is_found_under_its_name() {
        for sender in [SenderType::User, SenderType::Coach, SenderType::System] {
            assert_eq!(SenderType::from_name(sender.as_str()), Some(sender));
        }
        assert_eq!(SenderType::from_name("nobody"), None);
    }

    #[test]
    fn numbers_begin_at_1() {
        assert_eq!(MessageNumber::new(0), None);
        assert_eq!(MessageNumber::new(1).map(MessageNumber::get), Some(1));
    }
}
