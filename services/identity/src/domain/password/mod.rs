//! Passwords, and the policy that a chosen one has to meet.
//!
//! A password is taken exactly as sent: no trimming, no normalising. What a person types on two keyboards may then
//! differ, but nothing that they did type is ever dropped.

mod rule;

use std::fmt;

use icu_properties::{CodePointMapData, props::GeneralCategory};
use secrecy::{ExposeSecret, SecretString};
use zxcvbn::{Score, zxcvbn};

pub use self::rule::PasswordRule;
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
/// take it half a second, and these about as long as seven password hashes. The rest can only make a password harder to
/// guess.
const JUDGED_CODE_POINTS: usize = 32;

/// A password that can be somebody's. `Debug` does not show it.
#[derive(Clone)]
pub struct Password(SecretString);

// === impl Password ===

impl Password {
    /// A password that somebody chooses. The rules about `email` apply when it is known.
    ///
    /// Computes for a millisecond, or for as long as seven password hashes when somebody makes it: not for a thread that
    /// serves others meanwhile.
    ///
    /// # Errors
    ///
    /// Every rule that it breaks; [`PasswordRule::TooLong`] alone, before anything is computed, when that is one.
    pub fn choose(sent: SecretString, email: Option<&EmailAddress>) -> Result<Self, Vec<PasswordRule>> {
        let password = Self::present(sent).map_err(|too_long| vec![too_long])?;
        let broken = check(&password.0, email);
        if broken.is_empty() {
            Ok(password)
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

/// Every rule that `sent` breaks, in the order of [`PasswordRule::ALL`]: for a form that shows each one as met or not.
///
/// The work is bounded however long it is: of one that is too long the first [`MAX_CODE_POINTS`] are judged. Otherwise
/// computes as [`Password::choose`] does.
#[must_use]
pub fn check(sent: &SecretString, email: Option<&EmailAddress>) -> Vec<PasswordRule> {
    let sent = sent.expose_secret();
    let judged = beginning(sent, MAX_CODE_POINTS);
    PasswordRule::ALL
        .into_iter()
        .filter(|rule| match rule {
            // The two that a beginning would answer wrongly, and that cost nothing.
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

/// The first `code_points` of `password`, or all of it.
fn beginning(password: &str, code_points: usize) -> &str {
    match password.char_indices().nth(code_points) {
        Some((end, _)) => password.split_at(end).0,
        None => password,
    }
}

fn lacks(password: &str, category: GeneralCategory) -> bool {
    let categories = CodePointMapData::<GeneralCategory>::new();
    !password.chars().any(|c| categories.get(c) == category)
}

/// Whether `password` is `email`, in any spelling. What is longer than an address can be is not looked at.
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
            "it would not be kept"
        );
    }

    #[test]
    fn one_that_is_far_too_long_is_judged_as_soon_as_one_that_is_a_little_too_long() {
        let text = |times| SecretString::from("kX9vQ2wZ😀".repeat(times));
        let takes = |text: &SecretString| {
            let begin = Instant::now();
            assert_eq!(check(text, None), [R::TooLong]);
            begin.elapsed()
        };
        let (little, far) = (text(15), text(1_000_000));
        // The shortest of several, by turns: another test's work makes one longer, and none shorter.
        let (mut least_little, mut least_far) = (Duration::MAX, Duration::MAX);
        for _ in 0..5 {
            least_little = least_little.min(takes(&little));
            least_far = least_far.min(takes(&far));
        }
        assert!(least_far < least_little * 4, "{least_little:?}, {least_far:?}");
    }

    #[test]
    fn letters_and_digits_of_every_script_are_counted_by_category() {
        // Lt and Nl are neither; Lo is no case at all.
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

        #[test]
        fn choosing_is_checking_unless_it_is_too_long(password in "\\PC{0,140}") {
            let checked = check(&password.as_str().into(), None);
            let chosen = broken(&password);
            prop_assert_eq!(checked.contains(&R::TooLong), password.chars().count() > 128);
            match checked.contains(&R::TooLong) {
                true => prop_assert_eq!(chosen, [R::TooLong]),
                false => prop_assert_eq!(chosen, checked),
            }
        }

        // Alphabets, and not `\p{Ll}`: the categories that proptest draws from are of another Unicode version than the
        // policy's, and between versions characters move (U+0295 was a small letter once).
        #[test]
        fn one_character_of_a_kind_is_enough_wherever_it_is(
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
