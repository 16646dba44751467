//! Quotas: how much of each kind a person may store, and how many mutations a person may make.
//!
//! The schema keeps the counters and enforces the limits, in the transaction of the write: see the migration
//! `20261129000500_quotas`.

use std::{num::ParseIntError, str::FromStr};

use haven_platform::{database::Limits, rate_limit::RateLimit};

/// What is limited for each person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quota {
    /// Messages, of the person, the coach and the product.
    Messages,
    /// Bytes of the messages' sealed texts.
    MessageBytes,
    /// Analyses, and jobs that have none yet.
    AnalysisJobs,
    /// Bytes of the analyses' sealed results. When they are used up, no job is created; results of earlier jobs are stored.
    AnalysisBytes,
    /// Crisis events. They have no limit, because a refusal would lose a message or an event.
    CrisisEvents,
    /// Cycle records, including tombstones.
    Records,
    /// Bytes of the records' encrypted payloads.
    RecordBytes,
    /// Ids of deleted records without a tombstone. When they are used up, no record is created.
    DeletedRecords,
    /// Conflicts.
    Conflicts,
    /// Bytes of the conflicts' encrypted payloads.
    ConflictBytes,
    /// Nonces: one for each change of encrypted content.
    Nonces,
    /// Shares with content.
    Shares,
    /// Bytes of the shares' encrypted content.
    ShareBytes,
    /// Answers that are kept for retries.
    Requests,
    /// Bytes of the answers that are kept for retries.
    RequestBytes,
}

/// The limit of each quota. `None` is no limit.
///
/// ```
/// use haven_data::domain::quota::{Quota, Quotas};
///
/// let quotas: Quotas = "messages=10,shares=off".parse().unwrap();
/// assert_eq!(quotas.limit(Quota::Messages), Some(10));
/// assert_eq!(quotas.limit(Quota::Shares), None);
/// assert_eq!(quotas.limit(Quota::Records), Some(100_000));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quotas([Option<u64>; Quota::ALL.len()]);

/// A person's use of a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// The quota.
    pub quota: Quota,
    /// The number of rows or bytes that are used.
    pub used: u64,
}

/// The error when the configuration of quotas cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuotasError {
    /// An item is malformed, or names no quota.
    #[error("each item must be a quota with a number or `off`, such as `messages=100000`; the quotas are {names}", names = names())]
    Item,
    /// A limit is not a number, or too large.
    #[error("a limit must be a number from 1 to 1,000,000,000,000, or `off`")]
    Number,
    /// A quota is listed twice.
    #[error("a quota is listed twice")]
    Twice,
}

/// The largest limit.
const MAXIMUM: u64 = 1_000_000_000_000;

const MIB: u64 = 1024 * 1024;

// === impl Quota ===

impl Quota {
    /// All quotas, in the order of their declaration.
    pub const ALL: [Self; 15] = [
        Self::Messages,
        Self::MessageBytes,
        Self::AnalysisJobs,
        Self::AnalysisBytes,
        Self::CrisisEvents,
        Self::Records,
        Self::RecordBytes,
        Self::DeletedRecords,
        Self::Conflicts,
        Self::ConflictBytes,
        Self::Nonces,
        Self::Shares,
        Self::ShareBytes,
        Self::Requests,
        Self::RequestBytes,
    ];

    /// The quota's name: in the configuration, in errors, and as a column of the counters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::MessageBytes => "message_bytes",
            Self::AnalysisJobs => "analysis_jobs",
            Self::AnalysisBytes => "analysis_bytes",
            Self::CrisisEvents => "crisis_events",
            Self::Records => "records",
            Self::RecordBytes => "record_bytes",
            Self::DeletedRecords => "deleted_records",
            Self::Conflicts => "conflicts",
            Self::ConflictBytes => "conflict_bytes",
            Self::Nonces => "nonces",
            Self::Shares => "shares",
            Self::ShareBytes => "share_bytes",
            Self::Requests => "requests",
            Self::RequestBytes => "request_bytes",
        }
    }

    /// Returns the quota with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|quota| quota.name() == name)
    }

    /// The limit where the configuration has none. People who use a product every day stay far below it. `None` for what is
    /// counted and never refused, which no configuration can limit.
    #[must_use]
    pub fn default_limit(self) -> Option<u64> {
        Some(match self {
            Self::Messages | Self::Records => 100_000,
            Self::MessageBytes | Self::RecordBytes | Self::RequestBytes => 128 * MIB,
            Self::AnalysisJobs => 20_000,
            Self::CrisisEvents => return None,
            Self::Conflicts => 10_000,
            Self::DeletedRecords => 200_000,
            // All records, encrypted six times in 180 days.
            Self::Nonces => 600_000,
            Self::ConflictBytes => 32 * MIB,
            Self::Shares => 1_000,
            Self::AnalysisBytes | Self::ShareBytes => 64 * MIB,
            // A mutation every 1.2 seconds in the week for which an answer is kept.
            Self::Requests => 500_000,
        })
    }

    /// Returns whether the quota limits what a service stores for a person. Answers that are kept for retries of a service
    /// follow what the service may store.
    fn limits_services(self) -> bool {
        !matches!(self, Self::Requests | Self::RequestBytes)
    }
}

/// The names of the quotas that can be limited.
fn names() -> String {
    let limited = Quota::ALL
        .into_iter()
        .filter(|quota| quota.default_limit().is_some());
    limited.map(Quota::name).collect::<Vec<_>>().join(", ")
}

// === impl Quotas ===

impl Quotas {
    /// Returns the limit of `quota`.
    #[must_use]
    pub fn limit(&self, quota: Quota) -> Option<u64> {
        self.0.get(quota as usize).copied().flatten()
    }

    /// Returns the limits that transactions carry, with the limit of a person's own mutations.
    #[must_use]
    pub fn limits(&self, mutations: Option<RateLimit>) -> Limits {
        let all = Quota::ALL
            .into_iter()
            .filter_map(|quota| Some((quota, self.limit(quota)?)));
        let service: Vec<_> = all
            .clone()
            .filter(|(quota, _)| quota.limits_services())
            .map(|(quota, limit)| (quota.name(), limit))
            .collect();
        let mut user: Vec<_> = all.map(|(quota, limit)| (quota.name(), limit)).collect();
        if let Some(limit) = mutations {
            let (emission, tolerance) = (limit.emission().as_micros(), limit.tolerance().as_micros());
            // At least three microseconds, and at most a day.
            let micros = |duration: u128| u64::try_from(duration).unwrap_or(u64::MAX);
            user.push(("mutation_emission", micros(emission)));
            user.push(("mutation_tolerance", micros(tolerance)));
            user.push(("mutations", micros(tolerance / emission.max(1) + 1)));
        }
        Limits::new(&user, &service)
    }
}

impl Default for Quotas {
    fn default() -> Self {
        Self(Quota::ALL.map(Quota::default_limit))
    }
}

impl FromStr for Quotas {
    type Err = QuotasError;

    /// Parses `messages=10,shares=off`. A quota that is left out keeps its default, and an empty text all of them.
    fn from_str(text: &str) -> Result<Self, QuotasError> {
        let mut quotas = Self::default();
        let mut seen = Vec::new();
        for item in text.split(',').map(str::trim).filter(|_| !text.trim().is_empty()) {
            let (name, limit) = item.split_once('=').ok_or(QuotasError::Item)?;
            let quota = Quota::from_name(name)
                .filter(|quota| quota.default_limit().is_some())
                .ok_or(QuotasError::Item)?;
            if seen.contains(&quota) {
                return Err(QuotasError::Twice);
            }
            seen.push(quota);
            let limit = match limit {
                "off" => None,
                number => Some(number.parse().map_err(|_: ParseIntError| QuotasError::Number)?),
            };
            if limit.is_some_and(|limit| !(1..=MAXIMUM).contains(&limit)) {
                return Err(QuotasError::Number);
            }
            if let Some(slot) = quotas.0.get_mut(quota as usize) {
                *slot = limit;
            }
        }
        Ok(quotas)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_quotas_are_in_the_order_of_their_declaration() {
        for (index, quota) in Quota::ALL.into_iter().enumerate() {
            assert_eq!(quota as usize, index);
            assert_eq!(Quota::from_name(quota.name()), Some(quota));
        }
    }

    #[test]
    fn an_empty_configuration_has_all_defaults() {
        for text in ["", " "] {
            assert_eq!(text.parse(), Ok(Quotas::default()));
        }
    }

    #[test]
    fn a_malformed_configuration_is_rejected() {
        for (text, expected) in [
            ("messages", QuotasError::Item),
            ("widgets=1", QuotasError::Item),
            ("crisis_events=1", QuotasError::Item),
            ("messages=1,", QuotasError::Item),
            ("messages=many", QuotasError::Number),
            ("messages=-1", QuotasError::Number),
            ("messages=0", QuotasError::Number),
            ("messages=1000000000001", QuotasError::Number),
            ("messages=1,messages=2", QuotasError::Twice),
        ] {
            assert_eq!(text.parse::<Quotas>(), Err(expected), "{text}");
        }
        assert!(QuotasError::Item.to_string().contains("share_bytes"));
    }

    #[test]
    fn only_a_persons_own_transactions_limit_mutations_and_answers() {
        let limited: Vec<_> = Quota::ALL
            .into_iter()
            .filter(|quota| quota.default_limit().is_some())
            .collect();
        let off: Vec<_> = limited
            .iter()
            .map(|quota| format!("{}=off", quota.name()))
            .collect();
        let quotas: Quotas = off.join(",").parse().unwrap();
        assert_eq!(quotas.limits(None), Limits::new(&[], &[]));
        let quotas: Quotas = format!(
            "messages=3,requests=4,{}",
            limited[1..]
                .iter()
                .filter(|quota| **quota != Quota::Requests)
                .map(|quota| format!("{}=off", quota.name()))
                .collect::<Vec<_>>()
                .join(",")
        )
        .parse()
        .unwrap();
        let expected = Limits::new(
            &[
                ("messages", 3),
                ("requests", 4),
                ("mutation_emission", 6_000_000),
                ("mutation_tolerance", 54_000_000),
                ("mutations", 10),
            ],
            &[("messages", 3)],
        );
        assert_eq!(quotas.limits(Some("10/1m".parse().unwrap())), expected);
    }
}
