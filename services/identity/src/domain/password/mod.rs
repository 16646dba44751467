//! Passwords, and the policy that a new password must meet.
//!
//! A password is used exactly as it was sent, neither trimmed nor normalized. Two keyboards may then produce different
//! passwords, but nothing that a person typed is dropped.

mod change;
mod rule;

use std::fmt;

use icu_properties::{CodePointMapData, props::GeneralCategory};
use secrecy::{ExposeSecret, SecretString};
use zxcvbn::{Score, zxcvbn};

pub use self::{
    change::{PasswordChange, WrongPassword},
    rule::PasswordRule,
};
use super::email::EmailAddress;

/// The minimum length, in code points.
pub const MIN_CODE_POINTS: usize = 8;

/// The maximum length, in code points. A longer password is refused before any computation that is more expensive for longer passwords.
pub const MAX_CODE_POINTS: usize = 128;

/// The minimum zxcvbn score: 2, "somewhat guessable", for 10^6 to 10^8 guesses.
///
/// zxcvbn recommends 3 to sites that protect their hashes by nothing else. It scores eight random characters at 10^8 guesses,
/// so 3 would contradict the minimum length of eight. Haven's hashes are protected by argon2id and a pepper.
pub const MIN_SCORE: Score = Score::Two;

/// The number of leading code points that zxcvbn scores. Its cost grows so fast with length that a hundred chosen characters
/// take half a second, and these 32 about as long as seven password hashes. The rest can only make a password harder to
/// guess.
const JUDGED_CODE_POINTS: usize = 32;

/// A password of an allowed length. `Debug` does not show it.
#[derive(Clone)]
pub struct Password(SecretString);

// === impl Password ===

impl Password {
    /// Checks a new password against the policy. The rules about `email` apply when it is known.
    ///
    /// Computes for a millisecond, or for as long as seven password hashes when the password is chosen for it, so it must not
    /// run on a thread of the async runtime.
    ///
    /// # Errors
    ///
    /// Every rule that the password breaks. When it is too long, [`PasswordRule::TooLong`] alone, before anything is
    /// computed.
    pub fn choose(sent: SecretString, email: Option<&EmailAddress>) -> Result<Self, Vec<PasswordRule>> {
        let password = Self::present(sent).map_err(|too_long| vec![too_long])?;
        let broken = check(&password.0, email);
        if broken.is_empty() {
            Ok(password)
        } else {
            Err(broken)
        }
    }

    /// Wraps a current password, sent to authenticate. It need not meet today's policy, but no password was ever accepted
    /// that is longer than the maximum.
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

    /// The bytes to hash.
    pub(crate) fn expose(&self) -> &[u8] {
        self.0.expose_secret().as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password([redacted])")
    }
}

/// Every rule that `sent` breaks, in the order of [`PasswordRule::ALL`], for a form that shows each rule as met or not.
///
/// The cost is bounded: of a password that is too long, only the first [`MAX_CODE_POINTS`] are checked. Otherwise the cost is
/// that of [`Password::choose`].
#[must_use]
pub fn check(sent: &SecretString, email: Option<&EmailAddress>) -> Vec<PasswordRule> {
    let sent = sent.expose_secret();
    let judged = beginning(sent, MAX_CODE_POINTS);
    PasswordRule::ALL
        .into_iter()
        .filter(|rule| match rule {
            // These two rules need the whole password, and are cheap.
            PasswordRule::TooLong => is_too_long(sent),
            PasswordRule::IsEmail => email.is_some_and(|email| is_address(sent, email)),
            PasswordRule::TooShort => judged.chars().count() < MIN_CODE_POINTS,
            PasswordRule::NoUppercase => lacks(judged, GeneralCategory::UppercaseLetter),
            PasswordRule::NoLowercase => lacks(judged, GeneralCategory::LowercaseLetter),
            PasswordRule::NoDigit => lacks(judged, GeneralCategory::DecimalNumber),
            PasswordRule::Guessable => {
                let words = email.map(EmailAddress::words).unwrap_or_default();
                zxcvbn(beginning(judged, JUDGED_CODE_POINTS), &words).score() < MIN_SCORE
            }
        })
        .collect()
}

fn is_too_long(password: &str) -> bool {
    password.chars().nth(MAX_CODE_POINTS).is_some()
}

/// The first `code_points` of `password`, or all of it when it is shorter.
fn beginning(password: &str, code_points: usize) -> &str {
    match password.char_indices().nth(code_points) {
        Some((end, _)) => password.split_at(end).0,
        None => password,
    }
}

/// Returns whether `password` has no character of `category`.
fn lacks(password: &str, category: GeneralCategory) -> bool {
    let categories = CodePointMapData::<GeneralCategory>::new();
    !password.chars().any(|c| categories.get(c) == category)
}

/// Returns whether `password` is `email`, in any spelling. A password longer than an address can be is not parsed.
fn is_address(password: &str, email: &EmailAddress) -> bool {
    password == email.entered()
        || EmailAddress::parse(password).is_ok_and(|address| address.canonical() == email.canonical())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

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
    fn a_form_is_told_everything_about_one_that_is_too_long() {
        let check = |password: &str| check(&password.into(), None);
        assert_eq!(check(&("kX9vQ2wZ".repeat(16) + "!")), [R::TooLong]);
        assert_eq!(
            check(&"a".repeat(129)),
            [R::TooLong, R::NoUppercase, R::NoDigit, R::Guessable]
        );
        let late_digit = "kXovQtwZ".repeat(16) + "9";
        assert_eq!(
            check(&late_digit),
            [R::TooLong, R::NoDigit],
            "the digit would be cut off"
        );
    }

    #[test]
    fn a_far_too_long_password_is_checked_as_fast_as_a_slightly_too_long_one() {
        let text = |times| SecretString::from("kX9vQ2wZ😀".repeat(times));
        let takes = |text: &SecretString| {
            let begin = Instant::now();
            assert_eq!(check(text, None), [R::TooLong]);
            begin.elapsed()
        };
        let (little, far) = (text(15), text(1_000_000));
        // The minimum of several alternating measurements: other tests only make a measurement longer.
        let (mut min_little, mut min_far) = (Duration::MAX, Duration::MAX);
        for _ in 0..5 {
            min_little = min_little.min(takes(&little));
            min_far = min_far.min(takes(&far));
        }
        assert!(min_far < min_little * 4, "{min_little:?}, {min_far:?}");
    }

    #[test]
    fn letters_and_digits_of_every_script_are_counted_by_category() {
        // Lt and Nl are neither upper nor lower case, and Lo has no case.
        for (instead, rule) in [
            ("ǅ", R::NoUppercase),
            ("Ⅷ", R::NoUppercase),
            ("漢", R::NoUppercase),
        ] {
            assert_eq!(broken(&format!("k{instead}9vq2wz%")), [rule]);
        }
        for (instead, rule) in [
            ("ª", R::NoLowercase),
            ("ⅷ", R::NoLowercase),
            ("ǅ", R::NoLowercase),
        ] {
            assert_eq!(broken(&format!("K{instead}9VQ2WZ%")), [rule]);
        }
        for (instead, rule) in [("½", R::NoDigit), ("²", R::NoDigit), ("Ⅷ", R::NoDigit)] {
            assert_eq!(broken(&format!("kX{instead}vQtwZ%")), [rule]);
        }
        assert_eq!(broken("Ωλ٣ждЖ%%"), []);
    }

    #[test]
    fn the_email_address_is_refused_and_its_parts_are_guessable() {
        let email = EmailAddress::parse("Grace.Hopper1906@example.org").unwrap();
        let broken = |password: &str| {
            Password::choose(password.into(), Some(&email))
                .err()
                .unwrap_or_default()
        };
        assert!(broken("Grace.Hopper1906@example.org").contains(&R::IsEmail));
        assert!(broken("grace.HOPPER1906@EXAMPLE.org").contains(&R::IsEmail));
        assert_eq!(broken("Hopper1906"), [R::Guessable]);
        assert!(!broken("Grace.Hopper1906@example.org.").contains(&R::IsEmail));
        let local = "Xk9".to_owned() + &"vq2".repeat(20);
        let long = format!("{local}@{}.example.org", vec!["wz7jd"; 20].join("."));
        let email = EmailAddress::parse(&long).unwrap();
        assert!(long.len() > MAX_CODE_POINTS);
        assert!(check(&long.as_str().into(), Some(&email)).contains(&R::IsEmail));
        let beginning = format!("{}x", beginning(&long, MAX_CODE_POINTS));
        assert!(!check(&beginning.into(), Some(&email)).contains(&R::IsEmail));
    }

    #[test]
    fn a_password_is_used_exactly_as_sent() {
        let password = Password::choose(" kX9 vQ2wZ\u{301} ".into(), None).unwrap();
        assert_eq!(password.expose(), " kX9 vQ2wZ\u{301} ".as_bytes());
        assert!(!format!("{password:?}").contains("kX9"));
    }

    proptest! {
        #[test]
        fn a_password_with_every_required_kind_is_accepted(letters in "[b-df-hj-np-tv-z]{3}[B-DF-HJ-NP-TV-Z]{3}[0-9]{3}[_%~]{3}") {
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

        #[test]
        fn choose_and_check_agree_unless_the_password_is_too_long(password in "\\PC{0,140}") {
            let checked = check(&password.as_str().into(), None);
            let chosen = broken(&password);
            prop_assert_eq!(checked.contains(&R::TooLong), password.chars().count() > 128);
            match checked.contains(&R::TooLong) {
                true => prop_assert_eq!(chosen, [R::TooLong]),
                false => prop_assert_eq!(chosen, checked),
            }
        }

        // Alphabets instead of `\p{Ll}`: proptest's categories are of another Unicode version than the policy's, and characters
        // move between versions (U+0295 was a lower-case letter once).
        #[test]
        fn one_character_of_a_kind_is_enough_at_any_position(
            others in "[א-ת一-龠ぁ-ん½²+×%¿]{7,127}",
            (rule, one) in prop_oneof![
                "[A-ZÀ-ÖΑ-ΡЀ-ЯԱ-Ֆ𐐀-𐐧]".prop_map(|one| (R::NoUppercase, one)),
                "[a-zà-öα-ωа-џա-ֆ𐐨-𐑏]".prop_map(|one| (R::NoLowercase, one)),
                "[0-9٠-٩०-९０-９𝟎-𝟿]".prop_map(|one| (R::NoDigit, one)),
            ],
            at in any::<prop::sample::Index>(),
        ) {
            let without = broken(&others);
            prop_assert!([R::NoUppercase, R::NoLowercase, R::NoDigit].iter().all(|rule| without.contains(rule)));
            let mut characters: Vec<_> = others.chars().map(String::from).collect();
            characters.insert(at.index(characters.len() + 1), one);
            let with = broken(&characters.concat());
            for other in [R::NoUppercase, R::NoLowercase, R::NoDigit] {
                prop_assert_eq!(with.contains(&other), other != rule);
            }
            prop_assert!(!with.contains(&R::TooShort) && !with.contains(&R::TooLong));
        }
    }
}
