//! Milestones that a person can reach. Workers define them; this service checks only the form of their names.

use std::fmt;

/// The name of a milestone: a lower-case letter, then up to 62 lower-case letters, digits and underscores. A program
/// chose the name; it is never a text that a person wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Milestone(String);

impl Milestone {
    /// The maximum number of characters in a name.
    pub const MAX_LENGTH: usize = 63;

    /// Returns the milestone `name`; `None` when the name has another form.
    pub fn parse(name: impl Into<String>) -> Option<Self> {
        let name = name.into();
        let first = name.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
        let rest = name
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
        (first && rest && name.len() <= Self::MAX_LENGTH).then_some(Self(name))
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Milestone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_letter_followed_by_letters_digits_and_underscores() {
        let longest = format!("a{}", "_".repeat(62));
        for name in ["a", "first_party", "x9_", &longest] {
            assert_eq!(Milestone::parse(name).unwrap().as_str(), name);
        }
        let too_long = format!("{longest}a");
        for name in [
            "", "_a", "9a", "A", "aB", "a-b", "a b", "a\n", "é", "aé", &too_long,
        ] {
            assert_eq!(Milestone::parse(name), None, "{name}");
        }
    }
}
