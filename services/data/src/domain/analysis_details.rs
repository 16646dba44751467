//! The details of an analysis: statements about a person, in words. They are as private as the messages that they are
//! about, and are sealed like them.

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use serde::{Deserialize, Serialize, ser::Error as _};

use super::{
    key_ring::KeyRing,
    sealing::{Cell, OpenError, Sealed},
};

/// The details of an analysis: three lists of at most [`AnalysisDetails::MAX_ITEMS`] items, each of 1 to
/// [`AnalysisDetails::MAX_ITEM_CHARACTERS`] code points, exactly as the worker sent them.
///
/// The items are wiped from memory when they are dropped, and `Debug` does not show them.
#[derive(Debug)]
pub struct AnalysisDetails(Lists<SecretString>);

/// The layout of the sealed text, in JSON. The layout must never change, because stored details have it.
#[derive(Debug, Serialize, Deserialize)]
struct Lists<T> {
    insights: Vec<T>,
    strengths: Vec<T>,
    improvement_areas: Vec<T>,
}

/// A violation in the details of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetailsViolation {
    /// The name of a list, or of an item in a list, such as `insights[3]`.
    pub field: String,
    /// The rule that the field breaks.
    pub problem: DetailsProblem,
}

/// A rule that details can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DetailsProblem {
    /// A list has more than [`AnalysisDetails::MAX_ITEMS`] items.
    TooMany,
    /// An item is empty.
    ItemEmpty,
    /// An item has more than [`AnalysisDetails::MAX_ITEM_CHARACTERS`] code points.
    ItemTooLong,
}

// === impl AnalysisDetails ===

impl AnalysisDetails {
    /// The maximum number of items in a list.
    pub const MAX_ITEMS: usize = 10;
    /// The maximum number of code points in an item. The page size of ListAnalyses is chosen so that a page of the
    /// longest analyses fits into a response: adapt the page size before this limit grows.
    pub const MAX_ITEM_CHARACTERS: usize = 500;

    /// Checks the lengths of three lists. The items are neither trimmed nor normalised.
    ///
    /// # Errors
    ///
    /// All violations. Items after the last one that a list may have are not checked.
    pub fn parse(
        insights: Vec<String>,
        strengths: Vec<String>,
        improvement_areas: Vec<String>,
    ) -> Result<Self, Vec<DetailsViolation>> {
        let mut violations = Vec::new();
        let mut list = |name, items| parse_list(name, items, &mut violations);
        let lists = Lists {
            insights: list("insights", insights),
            strengths: list("strengths", strengths),
            improvement_areas: list("improvement_areas", improvement_areas),
        };
        match violations.is_empty() {
            true => Ok(Self(lists)),
            false => Err(violations),
        }
    }

    /// Returns the observations about the conversation.
    pub fn insights(&self) -> impl Iterator<Item = &str> {
        self.0.insights.iter().map(ExposeSecret::expose_secret)
    }

    /// Returns the person's strengths.
    pub fn strengths(&self) -> impl Iterator<Item = &str> {
        self.0.strengths.iter().map(ExposeSecret::expose_secret)
    }

    /// Returns the areas in which the person could improve.
    pub fn improvement_areas(&self) -> impl Iterator<Item = &str> {
        self.0.improvement_areas.iter().map(ExposeSecret::expose_secret)
    }

    /// Seals the details for `cell`, the analysis that they belong to. The token contains the time `at`, readable
    /// without a key.
    ///
    /// # Errors
    ///
    /// When the details cannot be written as JSON, which does not happen for any text.
    pub fn seal(&self, keys: &KeyRing, cell: Cell, at: DateTime<Utc>) -> Result<Sealed, serde_json::Error> {
        let lists = Lists {
            insights: self.insights().collect(),
            strengths: self.strengths().collect(),
            improvement_areas: self.improvement_areas().collect(),
        };
        let mut bytes = Zeroizing::new(Vec::with_capacity(lists.max_bytes()));
        serde_json::to_writer(&mut *bytes, &lists)?;
        let text = std::str::from_utf8(&bytes).map_err(serde_json::Error::custom)?;
        Ok(keys.seal(cell, text, at))
    }

    /// Opens the details that were sealed for `cell`.
    ///
    /// # Errors
    ///
    /// When the details were sealed for another analysis, or under a key that is not in the ring.
    pub fn open(keys: &KeyRing, cell: Cell, sealed: &Sealed) -> Result<Self, OpenError> {
        let text = keys.open(cell, sealed)?;
        // serde's error is dropped: it may quote the text.
        let lists: Lists<String> =
            serde_json::from_str(text.expose_secret()).map_err(|_| OpenError::Broken)?;
        let secret = |items: Vec<String>| items.into_iter().map(SecretString::from).collect();
        Ok(Self(Lists {
            insights: secret(lists.insights),
            strengths: secret(lists.strengths),
            improvement_areas: secret(lists.improvement_areas),
        }))
    }
}

// === impl Lists ===

impl Lists<&str> {
    /// An upper bound of the size in JSON, so that the buffer is allocated once: a buffer that grows leaves copies in
    /// memory that are not wiped.
    fn max_bytes(&self) -> usize {
        let items = self
            .insights
            .iter()
            .chain(&self.strengths)
            .chain(&self.improvement_areas);
        // The bound counts every byte as escaped (\u001f), two quotes and a comma for each item, and 64 bytes for the
        // names and brackets.
        items.map(|item| 6 * item.len() + 3).sum::<usize>() + 64
    }
}

/// Parses the items of the list `name`, and adds their violations.
fn parse_list(
    name: &'static str,
    items: Vec<String>,
    violations: &mut Vec<DetailsViolation>,
) -> Vec<SecretString> {
    if items.len() > AnalysisDetails::MAX_ITEMS {
        violations.push(DetailsViolation {
            field: name.to_owned(),
            problem: DetailsProblem::TooMany,
        });
    }
    for (position, item) in items.iter().take(AnalysisDetails::MAX_ITEMS).enumerate() {
        let problem = match item.chars().count() {
            0 => DetailsProblem::ItemEmpty,
            1..=AnalysisDetails::MAX_ITEM_CHARACTERS => continue,
            _ => DetailsProblem::ItemTooLong,
        };
        violations.push(DetailsViolation {
            field: format!("{name}[{position}]"),
            problem,
        });
    }
    items.into_iter().map(SecretString::from).collect()
}

// === impl DetailsProblem ===

impl DetailsProblem {
    /// The violation's stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::TooMany => "TOO_MANY",
            Self::ItemEmpty => "ITEM_EMPTY",
            Self::ItemTooLong => "ITEM_TOO_LONG",
        }
    }

    /// The violation's description, for developers.
    pub fn description(self) -> &'static str {
        match self {
            Self::TooMany => "a list must have at most 10 items",
            Self::ItemEmpty => "an item must have at least 1 character",
            Self::ItemTooLong => "an item must have at most 500 characters",
        }
    }
}

#[cfg(test)]
mod tests;
