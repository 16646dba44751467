//! Error codes of failed jobs, for operators.

use std::{borrow::Cow, fmt};

/// An error code that a program chose, never a text that a person wrote: an upper-case letter, then up to 62 upper-case
/// letters, digits and underscores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorCode(Cow<'static, str>);

impl ErrorCode {
    /// The code for a job with a message that cannot be opened.
    pub const MESSAGES_UNREADABLE: Self = Self(Cow::Borrowed("MESSAGES_UNREADABLE"));

    /// The maximum number of characters in a code.
    pub const MAX_LENGTH: usize = 63;

    /// Returns the error code `name`; `None` when it has another form.
    pub fn parse(name: impl Into<String>) -> Option<Self> {
        let name = name.into();
        let first = name.as_bytes().first().is_some_and(u8::is_ascii_uppercase);
        let rest = name
            .bytes()
            .all(|byte| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'_'));
        (first && rest && name.len() <= Self::MAX_LENGTH).then_some(Self(Cow::Owned(name)))
    }

    /// Returns the code as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_a_letter_followed_by_letters_digits_and_underscores() {
        let longest = format!("A{}", "_".repeat(62));
        for name in ["A", "MODEL_DOWN", "X9_", &longest] {
            assert_eq!(ErrorCode::parse(name).unwrap().as_str(), name);
        }
        let too_long = format!("{longest}A");
        for name in [
            "", "_A", "9A", "a", "Ab", "A-B", "A B", "A\n", "É", "AÉ", &too_long,
        ] {
            assert_eq!(ErrorCode::parse(name), None, "{name}");
        }
        let own = ErrorCode::MESSAGES_UNREADABLE;
        assert_eq!(ErrorCode::parse(own.as_str()), Some(own));
    }
}
