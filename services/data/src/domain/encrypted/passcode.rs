//! Passcodes: the optional second secret of a share, beside its token.

use secrecy::{ExposeSecret, SecretString};

/// A passcode, exactly as it was sent: it is neither trimmed nor normalised. `Debug` does not show it.
#[derive(Debug)]
pub struct Passcode(SecretString);

/// The rule that a passcode breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasscodeProblem {
    /// The passcode has fewer than [`Passcode::MIN_CHARACTERS`] code points.
    TooShort,
    /// The passcode has more than [`Passcode::MAX_CHARACTERS`] code points.
    TooLong,
}

/// The hash of a passcode in the PHC string format. `Debug` does not show it.
#[derive(Clone, Debug)]
pub struct PasscodeHash(SecretString);

// === impl Passcode ===

impl Passcode {
    /// The minimum length in Unicode code points.
    pub const MIN_CHARACTERS: usize = 4;
    /// The maximum length in Unicode code points.
    pub const MAX_CHARACTERS: usize = 128;

    /// Parses a passcode; `None` when `text` is empty.
    ///
    /// # Errors
    ///
    /// When the passcode is too short or too long.
    pub fn parse(text: SecretString) -> Result<Option<Self>, PasscodeProblem> {
        match text.expose_secret().chars().count() {
            0 => Ok(None),
            1..Self::MIN_CHARACTERS => Err(PasscodeProblem::TooShort),
            Self::MIN_CHARACTERS..=Self::MAX_CHARACTERS => Ok(Some(Self(text))),
            _ => Err(PasscodeProblem::TooLong),
        }
    }

    /// Returns the bytes to hash.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret().as_bytes()
    }
}

// === impl PasscodeProblem ===

impl PasscodeProblem {
    /// Returns the violation's stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TooShort => "PASSCODE_TOO_SHORT",
            Self::TooLong => "PASSCODE_TOO_LONG",
        }
    }

    /// Returns the violation's description.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::TooShort => "passcode must have at least 4 characters, counted in Unicode code points",
            Self::TooLong => "passcode must have at most 128 characters, counted in Unicode code points",
        }
    }
}

// === impl PasscodeHash ===

impl PasscodeHash {
    /// Wraps a hash in the PHC string format.
    #[must_use]
    pub fn new(phc: String) -> Self {
        Self(phc.into())
    }

    /// Returns the PHC string, to be stored or compared.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passcode_has_4_to_128_code_points() {
        let parse = |text: &str| Passcode::parse(text.into());
        assert!(parse("").unwrap().is_none());
        for one in ["x", "é", "🎉", " "] {
            assert_eq!(parse(&one.repeat(3)).unwrap_err(), PasscodeProblem::TooShort);
            for count in [4, 128] {
                let passcode = parse(&one.repeat(count)).unwrap().unwrap();
                assert_eq!(passcode.expose(), one.repeat(count).as_bytes());
            }
            assert_eq!(parse(&one.repeat(129)).unwrap_err(), PasscodeProblem::TooLong);
        }
    }

    #[test]
    fn debug_does_not_show_a_passcode() {
        let passcode = Passcode::parse("canary".into()).unwrap();
        assert!(!format!("{passcode:?}").contains("canary"));
    }
}
