//! Passwords, and the policy that a chosen one has to meet.
//!
//! A password is taken exactly as sent: no trimming, no normalising. What a person types on two keyboards may then
//! differ, but nothing that they did type is ever dropped.

use std::fmt;

use icu_properties::{CodePointMapData, props::GeneralCategory};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;
use zxcvbn::{Score, zxcvbn};

use super::email::EmailAddress;

/// The fewest code points.
pub const MIN_CODE_POINTS: usize = 8;

/// The most code points. A longer password is refused before anything whose cost grows with its length.
pub const MAX_CODE_POINTS: usize = 128;

/// The least zxcvbn score: 2, "somewhat guessable", for 10^6 to 10^8 guesses.
///
/// Not 3, which zxcvbn recommends to sites with nothing else in front of their hashes: eight random characters are
/// worth 10^8 guesses to it, so the rule of eight would be a lie. Ours are behind argon2id and a pepper.
pub const MIN_SCORE: Score = Score::Two;

/// How many code points zxcvbn sees: the first ones. Its cost grows so fast with length that a hundred chosen characters
/// take it half a second, and these at most two password hashes. The rest can only make a password harder to guess.
const JUDGED_CODE_POINTS: usize = 32;

/// A password that can be somebody's. `Debug` does not show it.
#[derive(Clone)]
pub struct Password(SecretString);

/// A rule of the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordRule {
    /// At least [`MIN_CODE_POINTS`].
    TooShort,
    /// At most [`MAX_CODE_POINTS`].
    TooLong,
    /// A letter of Unicode's category Lu.
    NoUppercase,
    /// A letter of Unicode's category Ll.
    NoLowercase,
    /// A digit of Unicode's category Nd.
    NoDigit,
    /// Not the email address, in any spelling.
    IsEmail,
    /// A zxcvbn score of at least [`MIN_SCORE`].
    Guessable,
}

// === impl Password ===

impl Password {
    /// A password that somebody chooses. The rules about `email` apply when it is known.
    ///
    /// Computes for a millisecond, or for as long as two password hashes when somebody makes it: not for a thread that
    /// serves others meanwhile.
    ///
    /// # Errors
    ///
    /// Every rule that it breaks.
    pub fn choose(sent: SecretString, email: Option<&EmailAddress>) -> Result<Self, Vec<PasswordRule>> {
        let broken = broken_rules(sent.expose_secret(), email);
        if broken.is_empty() {
            Ok(Self(sent))
        } else {
            Err(broken)
        }
    }

    /// A password that somebody presents to prove who they are. It need not meet today's policy, but it is not longer
    /// than any that was ever accepted.
    ///
    /// # Errors
    ///
    /// [`PasswordRule::TooLong`].
    pub fn present(sent: SecretString) -> Result<Self, PasswordRule> {
        if is_too_long(sent.expose_secret()) {
            Err(PasswordRule::TooLong)
        } else {
            Ok(Self(sent))
        }
    }

    /// The octets to hash.
    pub(crate) fn expose(&self) -> &[u8] {
        self.0.expose_secret().as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password([redacted])")
    }
}

fn is_too_long(password: &str) -> bool {
    password.chars().nth(MAX_CODE_POINTS).is_some()
}

fn broken_rules(password: &str, email: Option<&EmailAddress>) -> Vec<PasswordRule> {
    if is_too_long(password) {
        return vec![PasswordRule::TooLong];
    }
    let categories = CodePointMapData::<GeneralCategory>::new();
    let lacks = |category| !password.chars().any(|c| categories.get(c) == category);
    let is_email = email.is_some_and(|email| {
        password == email.entered()
            || EmailAddress::parse(password).is_ok_and(|address| address.canonical() == email.canonical())
    });
    let judged: Zeroizing<String> = Zeroizing::new(password.chars().take(JUDGED_CODE_POINTS).collect());
    let words = email.map(EmailAddress::words).unwrap_or_default();
    [
        (PasswordRule::TooShort, password.chars().count() < MIN_CODE_POINTS),
        (PasswordRule::NoUppercase, lacks(GeneralCategory::UppercaseLetter)),
        (PasswordRule::NoLowercase, lacks(GeneralCategory::LowercaseLetter)),
        (PasswordRule::NoDigit, lacks(GeneralCategory::DecimalNumber)),
        (PasswordRule::IsEmail, is_email),
        (
            PasswordRule::Guessable,
            zxcvbn(&judged, &words).score() < MIN_SCORE,
        ),
    ]
    .into_iter()
    .filter_map(|(rule, broken)| broken.then_some(rule))
    .collect()
}

// === impl PasswordRule ===

impl PasswordRule {
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
    use PasswordRule as R;
    use proptest::prelude::*;

    use super::*;

    fn broken(password: &str) -> Vec<PasswordRule> {
        Password::choose(password.into(), None).err().unwrap_or_default()
    }

    #[test]
    fn every_rule_at_its_edge() {
        assert_eq!(broken("kX9vQ2wZ"), []);
        assert_eq!(broken("kX9vQ2w"), [R::TooShort]);
        assert_eq!(broken("kx9vq2wz"), [R::NoUppercase]);
        assert_eq!(broken("KX9VQ2WZ"), [R::NoLowercase]);
        assert_eq!(broken("kXovQtwZ"), [R::NoDigit]);
        assert_eq!(broken("Password1"), [R::Guessable]);
        assert_eq!(
            broken(""),
            [
                R::TooShort,
                R::NoUppercase,
                R::NoLowercase,
                R::NoDigit,
                R::Guessable
            ]
        );
        assert_eq!(broken("длинный Пароль ٣"), []);
    }

    #[test]
    fn length_is_counted_in_code_points() {
        let emoji = |count: usize| {
            "kX9".to_owned()
                + &"😀🐝🌵🎻🧲"
                    .repeat(26)
                    .chars()
                    .take(count - 3)
                    .collect::<String>()
        };
        assert_eq!(broken(&emoji(8)), []);
        assert_eq!(broken(&emoji(7)), [R::TooShort]);
        assert_eq!(broken(&emoji(128)), []);
        assert_eq!(broken(&emoji(129)), [R::TooLong]);
        assert_eq!(broken(&"😀".repeat(1_000_000)), [R::TooLong]);
        assert!(Password::present(emoji(128).into()).is_ok());
        assert_eq!(Password::present(emoji(129).into()).err(), Some(R::TooLong));
    }

    #[test]
    fn an_email_address_is_no_password_and_a_bad_part_of_one() {
        let email = EmailAddress::parse("Grace.Hopper1906@example.org").unwrap();
        let broken = |password: &str| {
            Password::choose(password.into(), Some(&email))
                .err()
                .unwrap_or_default()
        };
        assert!(broken("Grace.Hopper1906@example.org").contains(&R::IsEmail));
        assert!(broken("grace.HOPPER1906@EXAMPLE.org").contains(&R::IsEmail));
        assert_eq!(broken("Hopper1906"), [R::Guessable]);
    }

    #[test]
    fn it_is_taken_exactly_as_sent() {
        let password = Password::choose(" kX9 vQ2wZ\u{301} ".into(), None).unwrap();
        assert_eq!(password.expose(), " kX9 vQ2wZ\u{301} ".as_bytes());
        assert!(!format!("{password:?}").contains("kX9"));
    }

    proptest! {
        #[test]
        fn what_the_policy_asks_for_is_enough(letters in "[b-df-hj-np-tv-z]{3}[B-DF-HJ-NP-TV-Z]{3}[0-9]{3}[_%~]{3}") {
            let scattered: String = (0..12).map(|i| char::from(letters.as_bytes()[i * 5 % 12])).collect();
            prop_assert_eq!(broken(&scattered), []);
        }

        #[test]
        fn each_rule_is_reported_exactly_when_it_is_broken(password in "\\PC{0,20}") {
            let found = broken(&password);
            prop_assert_eq!(found.contains(&R::TooShort), password.chars().count() < 8);
            for (rule, pattern) in [(R::NoUppercase, 'A'..='Z'), (R::NoLowercase, 'a'..='z'), (R::NoDigit, '0'..='9')] {
                if password.chars().any(|c| pattern.contains(&c)) {
                    prop_assert!(!found.contains(&rule));
                }
            }
        }
    }
}
