//! The rules of the password policy.

/// A rule of the password policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordRule {
    /// The password has at least [`MIN_CODE_POINTS`](super::MIN_CODE_POINTS) code points.
    TooShort,
    /// The password has at most [`MAX_CODE_POINTS`](super::MAX_CODE_POINTS) code points.
    TooLong,
    /// The password has an upper-case letter (Unicode's category Lu).
    NoUppercase,
    /// The password has a lower-case letter (Unicode's category Ll).
    NoLowercase,
    /// The password has a digit (Unicode's category Nd).
    NoDigit,
    /// The password is not the email address, in any spelling.
    IsEmail,
    /// The password has a zxcvbn score of at least [`MIN_SCORE`](super::MIN_SCORE).
    Guessable,
}

// === impl PasswordRule ===

impl PasswordRule {
    /// All rules, in the order in which a form shows them.
    pub const ALL: [Self; 7] = [
        Self::TooShort,
        Self::TooLong,
        Self::NoUppercase,
        Self::NoLowercase,
        Self::NoDigit,
        Self::IsEmail,
        Self::Guessable,
    ];

    /// The stable name of the violation.
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

    /// The rule, for a person to read.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::TooShort => "The password must have at least 8 characters",
            Self::TooLong => "The password must have at most 128 characters",
            Self::NoUppercase => "The password must have an upper-case letter",
            Self::NoLowercase => "The password must have a lower-case letter",
            Self::NoDigit => "The password must have a digit",
            Self::IsEmail => "The password must not be the email address",
            Self::Guessable => "The password must not be easy to guess",
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
    fn each_rule_has_a_name_and_a_description() {
        let names: HashSet<_> = R::ALL.map(PasswordRule::name).into();
        let descriptions: HashSet<_> = R::ALL.map(PasswordRule::description).into();
        assert_eq!((names.len(), descriptions.len()), (7, 7));
        assert!(R::TooShort.description().contains(&MIN_CODE_POINTS.to_string()));
        assert!(R::TooLong.description().contains(&MAX_CODE_POINTS.to_string()));
    }
}
