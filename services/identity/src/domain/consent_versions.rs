//! The versions of documents that exist, and that people can consent to.

use super::consent::{Consent, RequiredConsents};

/// The versions that a consent can name.
///
/// ```
/// use haven_identity::domain::{
///     consent::{Consent, RequiredConsents},
///     consent_versions::ConsentVersions,
/// };
///
/// let required: RequiredConsents = "terms=2026-01".parse().unwrap();
/// let versions = ConsentVersions::parse("terms=2025-01,news=1", &required).unwrap();
/// let accepts = |document, version| versions.accept(&Consent::parse(document, version).unwrap());
/// assert!(accepts("terms", "2026-01") && accepts("terms", "2025-01") && !accepts("terms", "2027-01"));
/// // Without a list, every version is accepted.
/// let versions = ConsentVersions::parse("", &required).unwrap();
/// assert!(versions.accept(&Consent::parse("news", "9").unwrap()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentVersions {
    /// The versions that are known: those that are listed, and the required ones.
    known: Vec<Consent>,
    /// `true` when other versions are accepted too.
    any: bool,
}

/// The error when a list of versions cannot be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsentVersionsError {
    /// An item has another form than `document=version`.
    #[error(
        "each item must be `document=version`, of lower-case letters, digits, `.`, `_` and `-`, such as `terms=2026-01`"
    )]
    Item,
    /// The list is too long to be returned to every caller.
    #[error("at most {MAX_VERSIONS} versions can be listed")]
    TooMany,
}

/// The maximum number of listed versions: GetConsentRequirements returns them all.
pub const MAX_VERSIONS: usize = 1000;

impl ConsentVersions {
    /// Parses a list such as `terms=2025-01,terms=2026-01`. The `required` versions are always known. An empty list accepts
    /// every version.
    ///
    /// # Errors
    ///
    /// When an item is malformed, or the list is too long.
    pub fn parse(list: &str, required: &RequiredConsents) -> Result<Self, ConsentVersionsError> {
        let mut known: Vec<Consent> = required.iter().cloned().collect();
        let items = list.split(',').map(str::trim).filter(|item| !item.is_empty());
        let mut any = true;
        for item in items {
            any = false;
            let consent = Consent::from_item(item).ok_or(ConsentVersionsError::Item)?;
            if !known.contains(&consent) {
                known.push(consent);
            }
            if known.len() > MAX_VERSIONS {
                return Err(ConsentVersionsError::TooMany);
            }
        }
        Ok(Self { known, any })
    }

    /// Returns whether a consent can name this version.
    #[must_use]
    pub fn accept(&self, consent: &Consent) -> bool {
        self.any || self.known.contains(consent)
    }

    /// Returns whether every version is accepted.
    #[must_use]
    pub fn are_any(&self) -> bool {
        self.any
    }

    /// The known versions: the required ones first, and then the others in the order of the list.
    pub fn iter(&self) -> impl Iterator<Item = &Consent> {
        self.known.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_adds_to_the_required_versions() {
        let required: RequiredConsents = "terms=2026-01".parse().unwrap();
        let parse = |list: &str| ConsentVersions::parse(list, &required);
        let versions = parse(" terms=2025-01, terms=2026-01,,terms=2025-01 ").unwrap();
        let known: Vec<_> = versions.iter().map(Consent::to_string).collect();
        assert_eq!(known, ["terms=2026-01", "terms=2025-01"]);
        assert!(!versions.are_any() && parse("").unwrap().are_any());
        for malformed in ["terms", "terms=", "Terms=1", "terms=1=2"] {
            assert_eq!(parse(malformed), Err(ConsentVersionsError::Item), "{malformed}");
        }
        let many: Vec<_> = (0..MAX_VERSIONS).map(|number| format!("news={number}")).collect();
        assert_eq!(parse(&many.join(",")), Err(ConsentVersionsError::TooMany));
    }
}
