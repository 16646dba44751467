//! Passwords, and the policy that a new password must meet.
//!
//! A password is used in the normal form of RFC 8265 (OpaqueString): characters are composed (NFC), and spaces of other kinds
//! are the space of ASCII. Two keyboards then produce the same password. Nothing else is changed: it is neither trimmed nor
//! folded, and no character is forbidden.

mod change;
mod normal_form;
mod rule;

use std::fmt;

use icu_properties::{CodePointMapData, props::GeneralCategory};
use secrecy::{ExposeSecret, SecretString};
use zxcvbn::{Score, zxcvbn};

use self::normal_form::normal_form;
pub use self::{
    change::{PasswordChange, WrongPassword},
    rule::PasswordRule,
};
use super::email::EmailAddress;

/// The minimum length, in code points.
pub const MIN_CODE_POINTS: usize = 8;

/// The maximum length, in code points. A longer password is refused before any computation that is more expensive for
/// longer passwords.
pub const MAX_CODE_POINTS: usize = 128;

/// The minimum zxcvbn score: 2, "somewhat guessable", for 10^6 to 10^8 guesses.
///
/// zxcvbn recommends 3 to sites that protect their hashes by nothing else. It scores eight random characters at 10^8
/// guesses, so 3 would contradict the minimum length of eight. Haven's hashes are protected by argon2id and a pepper.
pub const MIN_SCORE: Score = Score::Two;

/// The number of leading code points that zxcvbn scores. Its cost grows fast with length: chosen characters took
/// 0.15 s at 48 and 40 ms at 32, and take 15 ms at these 20, about as long as one password hash. The rest can only make a
/// password harder to guess.
const JUDGED_CODE_POINTS: usize = 20;

/// A password of an allowed length. `Debug` does not show it.
#[derive(Clone)]
pub struct Password {
    normal: SecretString,
    /// The password as it was sent, if that is another form.
    sent: Option<SecretString>,
}

// === impl Password ===

impl Password {
    /// Checks a new password against the policy. The rules about `email` apply when it is known.
    ///
    /// Computes for a millisecond, or for as long as a password hash when the password is chosen for it, so it must not run
    /// on a thread of the async runtime.
    ///
    /// # Errors
    ///
    /// Every rule that the password breaks. [`PasswordRule::Guessable`], which takes a thousand times as long as the others
    /// together, comes alone: it is checked when all others are met. When the password is too long, [`PasswordRule::TooLong`]
    /// alone, before anything is computed.
    pub fn choose(sent: SecretString, email: Option<&EmailAddress>) -> Result<Self, Vec<PasswordRule>> {
        let password = Self::present(sent).map_err(|too_long| vec![too_long])?;
        if is_too_long(password.normal.expose_secret()) {
            return Err(vec![PasswordRule::TooLong]);
        }
        let mut broken = check_rules(&password.normal, email, |rule| rule != PasswordRule::Guessable);
        if broken.is_empty() {
            broken = check_rules(&password.normal, email, |rule| rule == PasswordRule::Guessable);
        }
        match broken.is_empty() {
            true => Ok(Self {
                sent: None,
                ..password
            }),
            false => Err(broken),
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
            return Err(PasswordRule::TooLong);
        }
        Ok(match normal_form(sent.expose_secret()) {
            Some(normal) => Self {
                normal,
                sent: Some(sent),
            },
            None => Self {
                normal: sent,
                sent: None,
            },
        })
    }

    /// The bytes to hash.
    pub(crate) fn expose(&self) -> &[u8] {
        self.normal.expose_secret().as_bytes()
    }

    /// The bytes to check: those to hash, and then those that were sent, if they are others.
    pub(crate) fn forms(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(&self.normal)
            .chain(&self.sent)
            .map(|form| form.expose_secret().as_bytes())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password([redacted])")
    }
}

/// Every rule that `sent` breaks, in the order of [`PasswordRule::ALL`], for a form that shows each rule as met or not.
///
/// The cost is bounded: of a password that is too long, only the first [`MAX_CODE_POINTS`] are checked. Otherwise the
/// cost is that of [`Password::choose`] for a password that meets the other rules.
#[must_use]
pub fn check(sent: &SecretString, email: Option<&EmailAddress>) -> Vec<PasswordRule> {
    check_rules(sent, email, |_| true)
}

/// Every rule that `sent` breaks of those that are `wanted`.
fn check_rules(
    sent: &SecretString,
    email: Option<&EmailAddress>,
    wanted: fn(PasswordRule) -> bool,
) -> Vec<PasswordRule> {
    let sent = sent.expose_secret();
    let is_too_long_as_sent = is_too_long(sent);
    let beginning_of_sent = beginning(sent, MAX_CODE_POINTS);
    let normal = normal_form(beginning_of_sent);
    let normal = normal
        .as_ref()
        .map_or(beginning_of_sent, ExposeSecret::expose_secret);
    let judged = beginning(normal, MAX_CODE_POINTS);
    PasswordRule::ALL
        .into_iter()
        .filter(|rule| wanted(*rule))
        .filter(|rule| match rule {
            // These two rules need the whole password, and are cheap.
            PasswordRule::TooLong => is_too_long_as_sent || is_too_long(normal),
            PasswordRule::IsEmail => {
                email.is_some_and(|email| is_address(sent, email) || is_address(normal, email))
            }
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
mod tests;
