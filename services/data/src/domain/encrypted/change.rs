//! Changes of cycle records, as devices make them offline, and what becomes of each.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::envelope::Encrypted;

/// A change of a record, made by a device that may have been offline.
#[derive(Clone)]
pub struct Change {
    /// The record.
    pub record_id: Uuid,
    /// The version that it is based on. 0: the record is new.
    pub expected_version: i64,
    /// What the record is to hold. None: it is to be deleted.
    pub content: Option<Encrypted>,
    /// When what it records happened, by the person's own clock. None: it is a deletion that does not say.
    pub local_time: Option<DateTime<Utc>>,
    /// The id that it is kept under if it loses.
    pub conflict_id: Uuid,
}

/// Whether changes stand together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushMode {
    /// Each on its own. One that loses is kept as a conflict.
    Independent,
    /// All or none.
    Atomic,
}

/// What became of one change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeResult {
    /// What became of it.
    pub outcome: Outcome,
    /// The record's version: the one that the change made, or the one that stands against it. 0: there is none to tell.
    pub version: i64,
    /// The number of the change. None: nothing was changed.
    pub change_number: Option<i64>,
    /// What the change is kept as, if it lost.
    pub conflict_id: Option<Uuid>,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is applied.
    Applied,
    /// It was applied before.
    AlreadyApplied,
    /// The record has another version than it is based on.
    Conflict,
    /// The record is deleted.
    Deleted,
    /// It cannot be applied.
    Refused(ChangeRefusal),
    /// It could be applied, and was not, because another one could not.
    HeldBack,
}

/// Why a change cannot be applied, whatever becomes of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeRefusal {
    /// There is no such record, or not any more.
    NotFound,
    /// Its nonce was used for something else.
    NonceReused,
    /// It is under a key that the device has rotated away.
    KeyVersionStale {
        /// The version that the device's key has.
        current: i32,
    },
    /// It is under a key that the device does not have yet.
    KeyVersionUnknown {
        /// The version that the device's key has.
        current: i32,
    },
}

/// What becomes of a record that is in conflict.
#[derive(Clone)]
pub enum Resolution {
    /// It stays as it is.
    Keep,
    /// It gets this content. What was deleted is brought back.
    Replace {
        /// The content.
        content: Encrypted,
        /// When what it records happened, by the person's own clock.
        local_time: DateTime<Utc>,
    },
    /// It is deleted.
    Delete,
}

// === impl PushMode ===

impl PushMode {
    /// Whether a push with these results stands, or is to be taken back.
    #[must_use]
    pub fn stands(self, results: &[ChangeResult]) -> bool {
        let applied =
            |result: &ChangeResult| matches!(result.outcome, Outcome::Applied | Outcome::AlreadyApplied);
        self == Self::Independent || results.iter().all(applied)
    }
}

/// What to tell of a push that is taken back: `results` is what became of each of `changes` before. What was applied is
/// held back; and where one of those stood against a later change, it is the record as it was that does.
#[must_use]
pub fn held_back(changes: &[Change], results: Vec<ChangeResult>) -> Vec<ChangeResult> {
    // The version that each record has again, and the numbers that are nobody's any more.
    let mut versions = HashMap::new();
    let mut numbers = HashSet::new();
    let told = changes.iter().zip(results).map(|(change, result)| {
        let made_here = match result.outcome {
            Outcome::Applied => {
                versions
                    .entry(change.record_id)
                    .or_insert(change.expected_version);
                numbers.extend(result.change_number);
                true
            }
            // The same change twice in one push: the second finds what the first did.
            Outcome::AlreadyApplied => result.change_number.is_some_and(|it| numbers.contains(&it)),
            _ => false,
        };
        let version = match (result.outcome, versions.get(&change.record_id)) {
            (Outcome::Applied | Outcome::Conflict | Outcome::Deleted, Some(version)) => *version,
            (Outcome::AlreadyApplied, Some(version)) if made_here => *version,
            _ => result.version,
        };
        match made_here {
            true => ChangeResult {
                outcome: Outcome::HeldBack,
                version,
                change_number: None,
                conflict_id: None,
            },
            false => ChangeResult { version, ..result },
        }
    });
    told.collect()
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
            conflict_id: Uuid::from_u128(3),
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
    fn together_they_stand_when_each_is_applied_and_apart_always() {
        let results = [
            result(Outcome::Applied, 1, 1),
            result(Outcome::AlreadyApplied, 1, 1),
        ];
        assert!(PushMode::Atomic.stands(&results));
        let refused = Outcome::Refused(ChangeRefusal::NotFound);
        for other in [Outcome::Conflict, Outcome::Deleted, refused] {
            let results = [result(Outcome::Applied, 1, 1), result(other, 1, 0)];
            assert!(!PushMode::Atomic.stands(&results));
            assert!(PushMode::Independent.stands(&results));
        }
    }

    #[test]
    fn what_is_taken_back_is_told_as_if_it_had_never_been() {
        let changes = [
            change(RECORD, 4),
            change(RECORD, 5),
            // The same again.
            change(RECORD, 5),
            // Loses against the first of them, and then against the record as it was.
            change(RECORD, 4),
            // Applied by another push.
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
