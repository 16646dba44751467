//! Consent: which documents a person has to agree to, and which they did.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// The most documents that one sign-up may agree to.
pub const MAX_CONSENTS: usize = 20;

/// The longest name of a document or of a version, in bytes.
pub const MAX_NAME_BYTES: usize = 64;

/// A version of a document, such as `terms=2026-01`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Consent {
    document: String,
    version: String,
}

/// An entry of a person's ledger: written once, and withdrawn once. Agreeing again is another entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentEntry {
    /// Its id.
    pub id: Uuid,
    /// What the person agreed to.
    pub consent: Consent,
    /// When.
    pub granted_at: DateTime<Utc>,
    /// Since when they no longer do. None: it stands.
    pub withdrawn_at: Option<DateTime<Utc>>,
}

/// Why a text names no version of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsentViolation {
    /// The document's name is none.
    DocumentInvalid,
    /// The version's name is none.
    VersionInvalid,
}

/// The documents that sign-up requires.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequiredConsents(Vec<Consent>);

/// Why a list of required documents cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequiredConsentsError {
    /// An item is not `document=version`.
    #[error(
        "each item has to be `document=version`, of lower-case letters, digits, `.`, `_` and `-`, such as `terms=2026-01`"
    )]
    Item,
    /// A document is there twice.
    #[error("a document can be required in one version only")]
    Twice,
}

// === impl Consent ===

impl Consent {
    /// Takes a document's name and a version's: lower-case letters, digits, `.`, `_` and `-`.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with them.
    pub fn parse(document: &str, version: &str) -> Result<Self, Vec<ConsentViolation>> {
        let mut violations = Vec::new();
        if !is_name(document) {
            violations.push(ConsentViolation::DocumentInvalid);
        }
        if !is_name(version) {
            violations.push(ConsentViolation::VersionInvalid);
        }
        match violations.is_empty() {
            true => Ok(Self {
                document: document.to_owned(),
                version: version.to_owned(),
            }),
            false => Err(violations),
        }
    }

    /// The document's name.
    #[must_use]
    pub fn document(&self) -> &str {
        &self.document
    }

    /// The version's name.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }
}

impl fmt::Display for Consent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.document, self.version)
    }
}

fn is_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && name
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
}

// === impl ConsentViolation ===

impl ConsentViolation {
    /// What it is about, as the API names it.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Self::DocumentInvalid => "document",
            Self::VersionInvalid => "document_version",
        }
    }

    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DocumentInvalid => "DOCUMENT_INVALID",
            Self::VersionInvalid => "VERSION_INVALID",
        }
    }

    /// The same for a person.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::DocumentInvalid => {
                "A document's name has 1 to 64 lower-case letters, digits, `.`, `_` and `-`"
            }
            Self::VersionInvalid => {
                "A version's name has 1 to 64 lower-case letters, digits, `.`, `_` and `-`"
            }
        }
    }
}

// === impl RequiredConsents ===

impl RequiredConsents {
    /// The documents, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Consent> {
        self.0.iter()
    }

    /// The required documents that `granted` lacks.
    pub fn missing_in<'a>(&'a self, granted: &'a [Consent]) -> impl Iterator<Item = &'a Consent> {
        self.0.iter().filter(|required| !granted.contains(required))
    }
}

impl FromStr for RequiredConsents {
    type Err = RequiredConsentsError;

    /// Reads `terms=2026-01,privacy=2026-01`. Empty: nothing is required.
    fn from_str(list: &str) -> Result<Self, Self::Err> {
        let mut required: Vec<Consent> = Vec::new();
        for item in list.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let (document, version) = item.split_once('=').ok_or(RequiredConsentsError::Item)?;
            let consent = Consent::parse(document, version).map_err(|_| RequiredConsentsError::Item)?;
            if required.iter().any(|other| other.document == consent.document) {
                return Err(RequiredConsentsError::Twice);
            }
            required.push(consent);
        }
        Ok(Self(required))
    }
}

impl fmt::Display for RequiredConsents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let items: Vec<_> = self.0.iter().map(Consent::to_string).collect();
        f.write_str(&items.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consent(document: &str, version: &str) -> Consent {
        Consent::parse(document, version).unwrap()
    }

    #[test]
    fn the_required_version_is_what_counts() {
        let required: RequiredConsents = "terms=2026-01, privacy=2026-01".parse().unwrap();
        assert_eq!(required.to_string(), "terms=2026-01,privacy=2026-01");
        let missing = |granted: &[Consent]| {
            required
                .missing_in(granted)
                .map(Consent::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            missing(&[consent("terms", "2025-01")]),
            ["terms=2026-01", "privacy=2026-01"]
        );
        let granted = [
            consent("privacy", "2026-01"),
            consent("news", "1"),
            consent("terms", "2026-01"),
        ];
        assert!(missing(&granted).is_empty());
        assert!(RequiredConsents::default().missing_in(&[]).next().is_none());
    }

    #[test]
    fn wrong_names_are_refused() {
        let both = vec![
            ConsentViolation::DocumentInvalid,
            ConsentViolation::VersionInvalid,
        ];
        assert_eq!(Consent::parse("", "A"), Err(both));
        assert_eq!(
            Consent::parse(&"a".repeat(65), "1"),
            Err(vec![ConsentViolation::DocumentInvalid])
        );
        assert_eq!(
            "terms".parse::<RequiredConsents>(),
            Err(RequiredConsentsError::Item)
        );
        assert_eq!(
            "terms=1,terms=2".parse::<RequiredConsents>(),
            Err(RequiredConsentsError::Twice)
        );
    }
}
