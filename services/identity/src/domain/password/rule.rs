//! The rules of the password policy.

/// A rule of the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordRule {
    /// At least [`MIN_CODE_POINTS`](super::MIN_CODE_POINTS).
    TooShort,
    /// At most [`MAX_CODE_POINTS`](super::MAX_CODE_POINTS).
    TooLong,
    /// A letter of Unicode's category Lu.
    NoUppercase,
    /// A letter of Unicode's category Ll.
    NoLowercase,
    /// A digit of Unicode's category Nd.
    NoDigit,
    /// Not the email address, in any spelling.
    IsEmail,
    /// A zxcvbn score of at least [`MIN_SCORE`](super::MIN_SCORE).
    Guessable,
}

// === impl PasswordRule ===

impl PasswordRule {
    /// All of them, in the order in which a form shows them.
    pub const ALL: [Self; 7] = [
        Self::TooShort,
        Self::TooLong,
        Self::NoUppercase,
        Self::NoLowercase,
        Self::NoDigit,
        Self::IsEmail,
        Self::Guessable,
    ];

    /// The stable name of breaking it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TooShort => "TOO_SHORT",
            Self::TooLong => "TOO_LONG",
            Self::NoUppercase => "NO_UPPERCASE",
            Self::NoLowercase => "NO_LOWERCASE",
            Self::NoDigit => "NO_DIGIT",
            Self::IsEmail => "IS_EMAIL",
            Self::Guessable => "GUESSABLE",
        }
    }

    /// The rule, for a person.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::TooShort => "A password has at least 8 characters",
            Self::TooLong => "A password has at most 128 characters",
            Self::NoUppercase => "A password has an upper-case letter",
            Self::NoLowercase => "A password has a lower-case letter",
            Self::NoDigit => "A password has a digit",
            Self::IsEmail => "A password is not the email address",
            Self::Guessable => "A password is not one that is easily guessed",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use PasswordRule as R;

    use super::{
        super::{MAX_CODE_POINTS, MIN_CODE_POINTS},
        *,
    };

    #[test]
    fn each_rule_has_its_name_and_its_place() {
        let names: HashSet<_> = R::ALL.map(PasswordRule::name).into();
        let descriptions: HashSet<_> = R::ALL.map(PasswordRule::description).into();
        assert_eq!((names.len(), descriptions.len()), (7, 7));
        assert!(R::TooShort.description().contains(&MIN_CODE_POINTS.to_string()));
        assert!(R::TooLong.description().contains(&MAX_CODE_POINTS.to_string()));
    }
}
