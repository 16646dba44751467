//! What somebody has to say to open a share, beside its token.

use secrecy::{ExposeSecret, SecretString};

/// What has to be said to open a share, exactly as it was sent: nothing is trimmed or normalised. `Debug` does not show
/// it.
#[derive(Debug)]
pub struct Passcode(SecretString);

/// Why something cannot be a passcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasscodeProblem {
    /// It has fewer than [`Passcode::MIN_CHARACTERS`] code points.
    TooShort,
    /// It has more than [`Passcode::MAX_CHARACTERS`] code points.
    TooLong,
}

/// The hash of a passcode, in the PHC format. `Debug` does not show it.
#[derive(Clone, Debug)]
pub struct PasscodeHash(SecretString);

// === impl Passcode ===

impl Passcode {
    /// The fewest code points.
    pub const MIN_CHARACTERS: usize = 4;
    /// The most.
    pub const MAX_CHARACTERS: usize = 128;

    /// Takes a passcode as it is; none where nothing was sent.
    ///
    /// # Errors
    ///
    /// When it is too short or too long.
    pub fn parse(sent: SecretString) -> Result<Option<Self>, PasscodeProblem> {
        match sent.expose_secret().chars().count() {
            0 => Ok(None),
            1..Self::MIN_CHARACTERS => Err(PasscodeProblem::TooShort),
            Self::MIN_CHARACTERS..=Self::MAX_CHARACTERS => Ok(Some(Self(sent))),
            _ => Err(PasscodeProblem::TooLong),
        }
    }

    /// The bytes to hash.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret().as_bytes()
    }
}

// === impl PasscodeProblem ===

impl PasscodeProblem {
    /// The stable name of the violation.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TooShort => "PASSCODE_TOO_SHORT",
            Self::TooLong => "PASSCODE_TOO_LONG",
        }
    }

    /// The violation, for a developer to read.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::TooShort => "A passcode needs at least 4 characters, counted in Unicode code points",
            Self::TooLong => "A passcode may have at most 128 characters, counted in Unicode code points",
        }
    }
}

// === impl PasscodeHash ===

impl PasscodeHash {
    /// The hash that is written so.
    #[must_use]
    pub fn new(phc: String) -> Self {
        Self(phc.into())
    }

    /// The text, to be stored or compared.
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
