//! The feed of a person's changes: what is in it, and where a device stands in it.

use uuid::Uuid;

use super::record::{Conflict, Record};

/// Something that changed, as it is now.
#[derive(Clone)]
pub enum Entry {
    /// A record, or its tombstone.
    Record(Record),
    /// A change that lost a race.
    Conflict(Conflict),
}

/// A place in the feed: everything up to it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncCursor {
    /// In which history of changes.
    pub epoch: Uuid,
    /// Up to which number of a change.
    pub number: i64,
    /// Up to which number nothing is missed that is gone: it was gone when this device began to read, with nothing of
    /// its own that it could be told to forget.
    pub floor: i64,
}

/// What there is of a person's changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// Which history of changes it is.
    pub epoch: Uuid,
    /// The number of the newest change.
    pub last_number: i64,
    /// The greatest number of a change that is not kept any more.
    pub purged_number: i64,
}

/// Why a device cannot go on from a place, and has to start over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// The database was restored since, or another one has taken over, and tells another history.
    Restored,
    /// The same, and of what came after it something is not kept any more there: what is missing may be lost, or
    /// deleted.
    RestoredAndPurged,
    /// Something that came after it is not kept any more.
    Purged,
}

// === impl Entry ===

impl Entry {
    /// The number of the change.
    #[must_use]
    pub fn change_number(&self) -> i64 {
        match self {
            Self::Record(record) => record.change_number,
            Self::Conflict(conflict) => conflict.change_number,
        }
    }
}

// === impl History ===

impl History {
    /// The place before everything that is kept.
    #[must_use]
    pub fn start(&self) -> SyncCursor {
        SyncCursor {
            epoch: self.epoch,
            number: 0,
            floor: self.purged_number,
        }
    }

    /// Whether `place` is in it.
    ///
    /// # Errors
    ///
    /// [`Expiry::Restored`] or [`Expiry::RestoredAndPurged`] where it is not: also for a number that was never given
    /// out here, as after a restore that nobody told the database of.
    pub fn has(&self, place: SyncCursor) -> Result<(), Expiry> {
        if place.epoch == self.epoch && place.number <= self.last_number {
            Ok(())
        } else if place.number < self.purged_number {
            Err(Expiry::RestoredAndPurged)
        } else {
            Err(Expiry::Restored)
        }
    }

    /// Whether everything that came after `place` can still be told.
    ///
    /// # Errors
    ///
    /// See [`Expiry`].
    pub fn continues(&self, place: SyncCursor) -> Result<(), Expiry> {
        self.has(place)?;
        if self.purged_number <= place.number.max(place.floor) {
            Ok(())
        } else {
            Err(Expiry::Purged)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(last_number: i64, purged_number: i64) -> History {
        History {
            epoch: Uuid::from_u128(1),
            last_number,
            purged_number,
        }
    }

    fn place(number: i64, floor: i64) -> SyncCursor {
        SyncCursor {
            epoch: Uuid::from_u128(1),
            number,
            floor,
        }
    }

    #[test]
    fn a_place_is_good_from_what_is_gone_to_the_newest_change() {
        let history = history(10, 5);
        for number in 5..=10 {
            assert_eq!(history.continues(place(number, 0)), Ok(()), "{number}");
        }
        for number in 0..5 {
            assert_eq!(
                history.continues(place(number, 0)),
                Err(Expiry::Purged),
                "{number}"
            );
            assert_eq!(history.has(place(number, 0)), Ok(()), "{number}");
        }
        assert_eq!(history.continues(place(11, 0)), Err(Expiry::Restored));
    }

    #[test]
    fn a_place_of_another_history_is_good_nowhere() {
        for (number, expiry) in [
            (4, Expiry::RestoredAndPurged),
            (5, Expiry::Restored),
            (11, Expiry::Restored),
        ] {
            let elsewhere = SyncCursor {
                epoch: Uuid::from_u128(2),
                ..place(number, 0)
            };
            assert_eq!(history(10, 5).continues(elsewhere), Err(expiry), "{number}");
            assert_eq!(history(10, 5).has(elsewhere), Err(expiry), "{number}");
        }
    }

    #[test]
    fn who_starts_misses_nothing_that_was_gone_before_and_everything_that_goes_after() {
        let start = history(10, 5).start();
        assert_eq!(start, place(0, 5));
        assert_eq!(history(10, 5).continues(start), Ok(()));
        let further = SyncCursor { number: 3, ..start };
        assert_eq!(history(12, 5).continues(further), Ok(()));
        assert_eq!(history(12, 6).continues(further), Err(Expiry::Purged));
        let past = SyncCursor { number: 6, ..start };
        assert_eq!(history(12, 6).continues(past), Ok(()));
    }
}
