//! PushChanges: a batch of changes that a device made offline, and the result of each.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::change::Change;

/// A batch of changes from one device.
pub struct Push {
    /// The id of the device that made the changes.
    pub device: Uuid,
    /// The changes, in the order in which the device made them.
    pub changes: Vec<Change>,
    /// The handling of a change that cannot be applied.
    pub mode: PushMode,
    /// The time of the request, by the service's clock.
    pub at: DateTime<Utc>,
}

/// The handling of a change that cannot be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushMode {
    /// Each change is applied on its own. A change that loses is kept as a conflict.
    Independent,
    /// All changes are applied, or none.
    Atomic,
}

/// The result of one change of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeResult {
    /// The outcome of the change.
    pub outcome: Outcome,
    /// The record's version: the one that the change made, or the current one that the change lost against. 0 when
    /// there is none.
    pub version: i64,
    /// The change's number in the person's feed. `None` when nothing was changed.
    pub change_number: Option<i64>,
    /// The id of the conflict that the change is kept as. `None` when it is not kept.
    pub conflict_id: Option<Uuid>,
}

/// The outcome of one change of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The change is applied.
    Applied,
    /// An equal change was applied before.
    AlreadyApplied,
    /// The record has another version than the change is based on.
    Conflict,
    /// The record is deleted.
    Deleted,
    /// The change is invalid, independent of the record's version.
    Refused(ChangeRefusal),
    /// The change could be applied, and was not, because another change of an atomic push could not.
    HeldBack,
}

/// The reason why a change is invalid, independent of the record's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeRefusal {
    /// The record does not exist, or no longer exists.
    NotFound,
    /// The nonce was used for other content.
    NonceReused,
    /// The change is encrypted under a key version that the device has rotated away.
    KeyVersionStale {
        /// The current version of the device's key.
        current: i32,
    },
    /// The change is encrypted under a key version that the device's key has not reached.
    KeyVersionUnknown {
        /// The current version of the device's key.
        current: i32,
    },
}

// === impl PushMode ===

impl PushMode {
    /// Returns whether a push with these results is committed; otherwise it is rolled back.
    #[must_use]
    pub fn commits(self, results: &[ChangeResult]) -> bool {
        let applied =
            |result: &ChangeResult| matches!(result.outcome, Outcome::Applied | Outcome::AlreadyApplied);
        self == Self::Independent || results.iter().all(applied)
    }
}

/// Returns the results to report for a push that is rolled back. `results` are those of `changes` before the rollback.
///
/// A change that was applied is reported as held back. A change that lost against another change of the same push is
/// reported with the version that the record has after the rollback.
#[must_use]
pub fn held_back(changes: &[Change], results: Vec<ChangeResult>) -> Vec<ChangeResult> {
    // The version that each record has after the rollback, and the change numbers that the rollback takes back.
    let mut versions = HashMap::new();
    let mut numbers = HashSet::new();
    let reported = changes.iter().zip(results).map(|(change, result)| {
        let rolled_back = match result.outcome {
            Outcome::Applied => {
                versions
                    .entry(change.record_id)
                    .or_insert(change.expected_version);
                numbers.extend(result.change_number);
                true
            }
            // A repeated change in one push has the result of the first.
            Outcome::AlreadyApplied => result
                .change_number
                .is_some_and(|number| numbers.contains(&number)),
            _ => false,
        };
        let version = match (result.outcome, versions.get(&change.record_id)) {
            (Outcome::Applied | Outcome::Conflict | Outcome::Deleted, Some(version)) => *version,
            (Outcome::AlreadyApplied, Some(version)) if rolled_back => *version,
            _ => result.version,
        };
        match rolled_back {
            true => ChangeResult {
                outcome: Outcome::HeldBack,
                version,
                change_number: None,
                conflict_id: None,
            },
            false => ChangeResult { version, ..result },
        }
    });
    reported.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: Uuid = Uuid::from_u128(1);
    const OTHER: Uuid = Uuid::from_u128(2);

    fn change(record_id: Uuid, expected_version: i64) -> Change {
        Change {
            record_id,
            expected_version,
            content: None,
            local_time: None,
            conflict_id: Some(Uuid::from_u128(3)),
        }
    }

    fn result(outcome: Outcome, version: i64, change_number: i64) -> ChangeResult {
        ChangeResult {
            outcome,
            version,
            change_number: Some(change_number).filter(|number| *number > 0),
            conflict_id: None,
        }
    }

    #[test]
    fn an_atomic_push_commits_when_every_change_is_applied_and_an_independent_one_always() {
        let results = [
            result(Outcome::Applied, 1, 1),
            result(Outcome::AlreadyApplied, 1, 1),
        ];
        assert!(PushMode::Atomic.commits(&results));
        let refused = Outcome::Refused(ChangeRefusal::NotFound);
        for other in [Outcome::Conflict, Outcome::Deleted, refused] {
            let results = [result(Outcome::Applied, 1, 1), result(other, 1, 0)];
            assert!(!PushMode::Atomic.commits(&results));
            assert!(PushMode::Independent.commits(&results));
        }
    }

    #[test]
    fn a_rolled_back_push_is_reported_with_the_versions_before_it() {
        let changes = [
            change(RECORD, 4),
            change(RECORD, 5),
            // Repeats the change before it.
            change(RECORD, 5),
            // Loses against the first change, and after the rollback against the original record.
            change(RECORD, 4),
            // Applied by an earlier push.
            change(OTHER, 2),
            change(OTHER, 1),
            change(OTHER, 7),
        ];
        let results = vec![
            result(Outcome::Applied, 5, 11),
            result(Outcome::Applied, 6, 12),
            result(Outcome::AlreadyApplied, 6, 12),
            result(Outcome::Conflict, 6, 0),
            result(Outcome::AlreadyApplied, 3, 10),
            result(Outcome::Conflict, 3, 0),
            result(Outcome::Refused(ChangeRefusal::NonceReused), 0, 0),
        ];
        let expected = vec![
            result(Outcome::HeldBack, 4, 0),
            result(Outcome::HeldBack, 4, 0),
            result(Outcome::HeldBack, 4, 0),
            result(Outcome::Conflict, 4, 0),
            result(Outcome::AlreadyApplied, 3, 10),
            result(Outcome::Conflict, 3, 0),
            result(Outcome::Refused(ChangeRefusal::NonceReused), 0, 0),
        ];
        assert_eq!(held_back(&changes, results), expected);
    }
}
