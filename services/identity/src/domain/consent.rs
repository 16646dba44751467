//! Consents: the documents that sign-up requires, and the ledger of the consents that a person granted.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// The maximum number of consents in one sign-up.
pub const MAX_CONSENTS: usize = 20;

/// The maximum length of the name of a document or a version, in bytes.
pub const MAX_NAME_BYTES: usize = 64;

/// A version of a document, such as `terms=2026-01`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Consent {
    document: String,
    version: String,
}

/// A consent to write into a person's ledger.
#[derive(Debug)]
pub struct NewConsent {
    /// The entry's id, a UUID of version 7.
    pub id: Uuid,
    /// The version of the document that the person consents to.
    pub consent: Consent,
}

/// An entry of a person's ledger. It is written once and withdrawn at most once; granting the consent again adds another
/// entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentEntry {
    /// The id of the entry, a UUID of version 7.
    pub id: Uuid,
    /// The version of the document that the person consented to.
    pub consent: Consent,
    /// The time of the grant.
    pub granted_at: DateTime<Utc>,
    /// The time of the withdrawal. `None` when the consent is in effect.
    pub withdrawn_at: Option<DateTime<Utc>>,
}

/// A rule that the names of a consent break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsentViolation {
    /// The document's name is malformed.
    DocumentInvalid,
    /// The version's name is malformed.
    VersionInvalid,
}

/// The documents that sign-up requires, each in one version.
///
/// ```
/// use haven_identity::domain::consent::{Consent, RequiredConsents};
///
/// let required: RequiredConsents = "terms=2026-01,privacy=2026-01".parse().unwrap();
/// let granted = [Consent::parse("terms", "2026-01").unwrap()];
/// let missing: Vec<_> = required.missing_in(&granted).map(Consent::document).collect();
/// assert_eq!(missing, ["privacy"]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequiredConsents(Vec<Consent>);

/// The error when a list of required documents cannot be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequiredConsentsError {
    /// An item has another form than `document=version`.
    #[error(
        "each item must be `document=version`, of lower-case letters, digits, `.`, `_` and `-`, such as `terms=2026-01`"
    )]
    Item,
    /// A document is listed twice.
    #[error("a document can be required in one version only")]
    Twice,
    /// No sign-up can have that many consents.
    #[error(
        "at most {MAX_CONSENTS} documents can be required, because a sign-up has at most that many consents"
    )]
    TooMany,
}

// === impl Consent ===

impl Consent {
    /// Parses the names of a document and of its version: each 1 to 64 lower-case letters, digits, `.`, `_` and `-`.
    ///
    /// # Errors
    ///
    /// Every rule that the names break.
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

    /// Parses an item of a list, such as `terms=2026-01`. `None` when it has another form.
    #[must_use]
    pub fn from_item(item: &str) -> Option<Self> {
        let (document, version) = item.split_once('=')?;
        Self::parse(document, version).ok()
    }

    /// Returns the name of the document.
    #[must_use]
    pub fn document(&self) -> &str {
        &self.document
    }

    /// Returns the name of the version.
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
    /// The field of `ConsentGrant` that is malformed.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Self::DocumentInvalid => "document",
            Self::VersionInvalid => "document_version",
        }
    }

    /// The violation's stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DocumentInvalid => "DOCUMENT_INVALID",
            Self::VersionInvalid => "VERSION_INVALID",
        }
    }

    /// The rule, for a person to read.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::DocumentInvalid => "document must have 1 to 64 of a-z, 0-9 and . _ -",
            Self::VersionInvalid => "document_version must have 1 to 64 of a-z, 0-9 and . _ -",
        }
    }
}

// === impl RequiredConsents ===

impl RequiredConsents {
    /// The documents, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Consent> {
        self.0.iter()
    }

    /// The names of the documents, and the names of their versions, as parameters of a statement.
    #[must_use]
    pub fn columns(&self) -> (Vec<&str>, Vec<&str>) {
        let required = self.0.iter();
        required
            .map(|consent| (consent.document(), consent.version()))
            .unzip()
    }

    /// The required consents that `granted` lacks.
    pub fn missing_in<'a>(&'a self, granted: &'a [Consent]) -> impl Iterator<Item = &'a Consent> {
        self.0.iter().filter(|required| !granted.contains(required))
    }
}

impl FromStr for RequiredConsents {
    type Err = RequiredConsentsError;

    /// Parses a list such as `terms=2026-01,privacy=2026-01`. An empty list requires nothing.
    fn from_str(list: &str) -> Result<Self, Self::Err> {
        let mut required: Vec<Consent> = Vec::new();
        for item in list.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let consent = Consent::from_item(item).ok_or(RequiredConsentsError::Item)?;
            if required.iter().any(|other| other.document == consent.document) {
                return Err(RequiredConsentsError::Twice);
            }
            required.push(consent);
        }
        if required.len() > MAX_CONSENTS {
            return Err(RequiredConsentsError::TooMany);
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
    fn a_consent_to_another_version_does_not_count() {
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
    fn malformed_names_are_refused() {
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
        let many: Vec<_> = (0..=MAX_CONSENTS).map(|number| format!("d{number}=1")).collect();
        assert_eq!(
            many.join(",").parse::<RequiredConsents>(),
            Err(RequiredConsentsError::TooMany)
        );
    }
}
