//! The details of an analysis: what it says about a person, in words. They are as private as the messages that they
//! come of, and are kept like them: sealed.

use chrono::{DateTime, Utc};
use haven_platform::call::UserId;
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use serde::{Deserialize, Serialize, ser::Error as _};
use uuid::Uuid;

use super::{
    analysis::cell,
    key_ring::KeyRing,
    sealing::{OpenError, Sealed},
};

/// What an analysis says: three lists of at most [`AnalysisDetails::MAX_ITEMS`] items, each of 1 to
/// [`AnalysisDetails::MAX_ITEM_CHARACTERS`] code points, exactly as they were sent.
///
/// They are wiped from memory when dropped, and `Debug` does not show them.
#[derive(Debug)]
pub struct AnalysisDetails(Lists<SecretString>);

/// The layout of what is sealed, in JSON. It must never change: what is sealed already has it.
#[derive(Debug, Serialize, Deserialize)]
struct Lists<T> {
    insights: Vec<T>,
    strengths: Vec<T>,
    improvement_areas: Vec<T>,
}

/// One thing that is wrong with what somebody sent as details.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetailsViolation {
    /// Where: the name of a list, or of an item in it, such as `insights[3]`.
    pub field: String,
    /// What.
    pub problem: DetailsProblem,
}

/// What can be wrong with details.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DetailsProblem {
    /// A list has more than [`AnalysisDetails::MAX_ITEMS`] items.
    TooMany,
    /// There is nothing in an item.
    ItemEmpty,
    /// An item has more than [`AnalysisDetails::MAX_ITEM_CHARACTERS`] code points.
    ItemTooLong,
}

// === impl AnalysisDetails ===

impl AnalysisDetails {
    /// The most items that a list may have.
    pub const MAX_ITEMS: usize = 10;
    /// The most code points that an item may have. A page of analyses stays below the size of an answer: see there
    /// before this grows.
    pub const MAX_ITEM_CHARACTERS: usize = 500;

    /// Takes the three lists as they are: nothing is trimmed or normalised.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with them. What stands behind the last item that a list may have is not looked at.
    pub fn parse(
        insights: Vec<String>,
        strengths: Vec<String>,
        improvement_areas: Vec<String>,
    ) -> Result<Self, Vec<DetailsViolation>> {
        let mut violations = Vec::new();
        let mut list = |name, items| check(name, items, &mut violations);
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

    /// What was noticed.
    pub fn insights(&self) -> impl Iterator<Item = &str> {
        self.0.insights.iter().map(ExposeSecret::expose_secret)
    }

    /// What the person does well.
    pub fn strengths(&self) -> impl Iterator<Item = &str> {
        self.0.strengths.iter().map(ExposeSecret::expose_secret)
    }

    /// What the person could do better.
    pub fn improvement_areas(&self) -> impl Iterator<Item = &str> {
        self.0.improvement_areas.iter().map(ExposeSecret::expose_secret)
    }

    /// Seals them as the details of the analysis `id` of `owner`. The time `at` stands in the token, readable by
    /// everybody.
    ///
    /// # Errors
    ///
    /// When they cannot be written as JSON, which no text prevents.
    pub fn seal(
        &self,
        keys: &KeyRing,
        owner: UserId,
        id: Uuid,
        at: DateTime<Utc>,
    ) -> Result<Sealed, serde_json::Error> {
        let lists = Lists {
            insights: self.insights().collect(),
            strengths: self.strengths().collect(),
            improvement_areas: self.improvement_areas().collect(),
        };
        let mut bytes = Zeroizing::new(Vec::with_capacity(lists.most_bytes()));
        serde_json::to_writer(&mut *bytes, &lists)?;
        let text = std::str::from_utf8(&bytes).map_err(serde_json::Error::custom)?;
        Ok(keys.seal(cell(owner, id), text, at))
    }

    /// Opens those of the analysis `id` of `owner`.
    ///
    /// # Errors
    ///
    /// When they were not sealed for this analysis, or under no key of the ring.
    pub fn open(keys: &KeyRing, owner: UserId, id: Uuid, sealed: &Sealed) -> Result<Self, OpenError> {
        let text = keys.open(cell(owner, id), sealed)?;
        // The error is left out: it may quote what it could not read.
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

impl Lists<&str> {
    /// More bytes than this has in JSON, so that what is written into has its final size at once: growing would leave
    /// copies behind that nobody wipes.
    fn most_bytes(&self) -> usize {
        let items = self
            .insights
            .iter()
            .chain(&self.strengths)
            .chain(&self.improvement_areas);
        // Every byte escaped (as \u001f), with quotes and a comma; and the names with what is around them.
        items.map(|item| 6 * item.len() + 3).sum::<usize>() + 64
    }
}

/// The items of a list, with what is wrong with them.
fn check(
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
    /// The stable name of the violation.
    pub fn name(self) -> &'static str {
        match self {
            Self::TooMany => "TOO_MANY",
            Self::ItemEmpty => "ITEM_EMPTY",
            Self::ItemTooLong => "ITEM_TOO_LONG",
        }
    }

    /// The violation, for a developer to read.
    pub fn description(self) -> &'static str {
        match self {
            Self::TooMany => "There may be at most 10 of these.",
            Self::ItemEmpty => "This needs at least one character.",
            Self::ItemTooLong => "This may have at most 500 characters.",
        }
    }
}

#[cfg(test)]
mod tests;
