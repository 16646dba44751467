//! The change feed of a person: its entries, and the cursor of a device that reads it.

use uuid::Uuid;

use super::record::{Conflict, Record};

/// An entry of the feed: a record or a conflict that changed, in its current state.
#[derive(Clone)]
pub enum Entry {
    /// A record, or the tombstone of a deleted one.
    Record(Record),
    /// A conflict, open or settled.
    Conflict(Conflict),
}

/// A device's position in the feed: the device has read everything up to it, from the start or from a cursor of before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncCursor {
    /// The id of the history that the numbers belong to; a restore of the database begins a new one.
    pub epoch: Uuid,
    /// The number of the last change that was read.
    pub number: i64,
    /// The number up to which purged changes do not matter: they were purged before the device began to read, so the
    /// device has no copy that it would have to delete.
    pub floor: i64,
    /// Whether a read from the start has come to its end at this cursor or before: to the change that was the newest one when
    /// the read, or the one that continued it, began. An earlier cursor does not show that the device knows this history.
    pub complete: bool,
}

/// The extent of a person's feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// The id of the history.
    pub epoch: Uuid,
    /// The number of the newest change.
    pub last_number: i64,
    /// The greatest number of a change that was purged.
    pub purged_number: i64,
}

/// The reason why a cursor has expired, so that the device has to read the feed from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// The database was restored, or another one took over, so the cursor belongs to another history.
    Restored,
    /// The cursor belongs to another history, as in [`Expiry::Restored`], and changes after the cursor were purged in
    /// the new history: a missing record may be lost or deleted.
    RestoredAndPurged,
    /// Changes after the cursor were purged.
    Purged,
}

// === impl Entry ===

impl Entry {
    /// Returns the number of the entry's last change.
    #[must_use]
    pub fn change_number(&self) -> i64 {
        match self {
            Self::Record(record) => record.change_number,
            Self::Conflict(conflict) => conflict.change_number,
        }
    }
}

// === impl SyncCursor ===

impl SyncCursor {
    /// Returns the cursor after the change `number`, in a read whose end is the change `goal`.
    #[must_use]
    pub fn advanced(self, number: i64, goal: i64) -> Self {
        Self {
            number,
            complete: self.complete || number >= goal,
            ..self
        }
    }
}

// === impl History ===

impl History {
    /// Returns the cursor before the first change that is kept.
    #[must_use]
    pub fn start(&self) -> SyncCursor {
        SyncCursor {
            epoch: self.epoch,
            number: 0,
            floor: self.purged_number,
            complete: false,
        }
    }

    /// Checks that `cursor` belongs to this history.
    ///
    /// # Errors
    ///
    /// [`Expiry::Restored`] or [`Expiry::RestoredAndPurged`] when it does not, or when its number was never assigned
    /// here, as after a restore without a new history id.
    pub fn check_contains(&self, cursor: SyncCursor) -> Result<(), Expiry> {
        if cursor.epoch == self.epoch && cursor.number <= self.last_number {
            Ok(())
        } else if cursor.number < self.purged_number {
            Err(Expiry::RestoredAndPurged)
        } else {
            Err(Expiry::Restored)
        }
    }

    /// Checks that every change after `cursor` is still kept.
    ///
    /// # Errors
    ///
    /// See [`Expiry`].
    pub fn check_complete_after(&self, cursor: SyncCursor) -> Result<(), Expiry> {
        self.check_contains(cursor)?;
        if self.purged_number <= cursor.number.max(cursor.floor) {
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

    fn cursor(number: i64, floor: i64) -> SyncCursor {
        SyncCursor {
            epoch: Uuid::from_u128(1),
            number,
            floor,
            complete: false,
        }
    }

    #[test]
    fn a_cursor_is_complete_from_the_end_of_its_read_on() {
        let start = history(10, 0).start();
        assert!(!start.complete);
        for (number, complete) in [(0, false), (9, false), (10, true), (11, true)] {
            assert_eq!(start.advanced(number, 10).complete, complete, "{number}");
        }
        // A read that was continued ends at the change that was the newest one then, and once complete it stays so.
        let broken_off = start.advanced(9, 10);
        assert!(!broken_off.advanced(11, 12).complete);
        assert!(broken_off.advanced(12, 12).complete);
        assert!(start.advanced(10, 10).advanced(11, 20).complete);
    }

    #[test]
    fn a_cursor_is_valid_from_the_last_purged_change_to_the_newest_one() {
        let history = history(10, 5);
        for number in 5..=10 {
            assert_eq!(
                history.check_complete_after(cursor(number, 0)),
                Ok(()),
                "{number}"
            );
        }
        for number in 0..5 {
            assert_eq!(
                history.check_complete_after(cursor(number, 0)),
                Err(Expiry::Purged),
                "{number}"
            );
            assert_eq!(history.check_contains(cursor(number, 0)), Ok(()), "{number}");
        }
        assert_eq!(history.check_complete_after(cursor(11, 0)), Err(Expiry::Restored));
    }

    #[test]
    fn a_cursor_of_another_history_is_never_valid() {
        for (number, expiry) in [
            (4, Expiry::RestoredAndPurged),
            (5, Expiry::Restored),
            (11, Expiry::Restored),
        ] {
            let elsewhere = SyncCursor {
                epoch: Uuid::from_u128(2),
                ..cursor(number, 0)
            };
            assert_eq!(
                history(10, 5).check_complete_after(elsewhere),
                Err(expiry),
                "{number}"
            );
            assert_eq!(history(10, 5).check_contains(elsewhere), Err(expiry), "{number}");
        }
    }

    #[test]
    fn a_cursor_from_the_start_expires_by_later_purges_only() {
        let start = history(10, 5).start();
        assert_eq!(start, cursor(0, 5));
        assert_eq!(history(10, 5).check_complete_after(start), Ok(()));
        let further = SyncCursor { number: 3, ..start };
        assert_eq!(history(12, 5).check_complete_after(further), Ok(()));
        assert_eq!(history(12, 6).check_complete_after(further), Err(Expiry::Purged));
        let past = SyncCursor { number: 6, ..start };
        assert_eq!(history(12, 6).check_complete_after(past), Ok(()));
    }
}
