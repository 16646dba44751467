//! The comparison of one person's state here with that in data, and what mends a difference.
//!
//! Both states come from separate databases, each of which may have been restored to an older time. An erasure is known by
//! a receipt here, by a tombstone in data, or by the journal of erasures, and by nothing else: a person who is missing on
//! one side is never erased for that.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// A person as this service knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Here {
    /// The person's id.
    pub id: Uuid,
    /// The person's state.
    pub state: HereState,
    /// True when the outbox has a message about the person, which data has not confirmed yet.
    pub is_waiting: bool,
}

/// The state of a person in this service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HereState {
    /// The person has an account.
    Account,
    /// The account was erased, and data has confirmed its part or has not.
    Erased {
        /// The time at which the erasure was requested.
        at: DateTime<Utc>,
        /// True when data has confirmed it.
        is_complete: bool,
    },
}

/// A person as data knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct There {
    /// The person's id.
    pub id: Uuid,
    /// The person's state.
    pub state: ThereState,
}

/// The state of a person in data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThereState {
    /// Data has the person since this time.
    Active(DateTime<Utc>),
    /// Data has the person, and locked them at this time.
    Locked(DateTime<Utc>),
    /// Data erased the person at this time.
    Erased(DateTime<Utc>),
}

/// A difference between the two services, named after what mends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The person has an account, and data does not know them: data is told again.
    Provision,
    /// The person has an account, and data locked them: data is told again, which unlocks them.
    Unlock,
    /// The person was erased here, and data has them, or has no tombstone: data is told again.
    EraseInData {
        /// The time of the erasure.
        at: DateTime<Utc>,
    },
    /// Data erased the person, and they have an account: the account is erased again.
    EraseAccount {
        /// The time of the erasure.
        at: DateTime<Utc>,
    },
    /// Data erased the person, and there is no receipt here: it is written.
    KeepReceipt {
        /// The time of the erasure.
        at: DateTime<Utc>,
    },
    /// Data has a person without an account and without a receipt: they are locked.
    LockOrphan,
    /// Data has locked such a person at this time: they stay locked, until an operator decides.
    LockedOrphan(DateTime<Utc>),
}

/// The judgement about one person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Both services agree.
    Agrees,
    /// A message in the outbox will make them agree.
    Waiting,
    /// The person was provisioned too recently to be judged: the sign-up may not be visible here yet.
    TooNew,
    /// They differ.
    Differs(Difference),
}

/// Compares the states of one person. `judged_before` is the time before which a person without an account must have been
/// provisioned to count as an orphan.
#[must_use]
pub fn compare(here: Option<Here>, there: Option<ThereState>, judged_before: DateTime<Utc>) -> Verdict {
    use Difference as D;
    use Verdict as V;
    let is_waiting = here.is_some_and(|here| here.is_waiting);
    let differs = |difference| match is_waiting {
        true => V::Waiting,
        false => V::Differs(difference),
    };
    match (here.map(|here| here.state), there) {
        (None, None) => V::Agrees,
        (Some(HereState::Account), Some(ThereState::Active(_))) => V::Agrees,
        (Some(HereState::Account), None) => differs(D::Provision),
        (Some(HereState::Account), Some(ThereState::Locked(_))) => differs(D::Unlock),
        // A message that provisions the person would be refused, so it mends nothing.
        (Some(HereState::Account), Some(ThereState::Erased(at))) => V::Differs(D::EraseAccount { at }),
        (
            Some(HereState::Erased {
                is_complete: true, ..
            }),
            Some(ThereState::Erased(_)),
        ) => V::Agrees,
        (Some(HereState::Erased { at, .. }), _) => differs(D::EraseInData { at }),
        (None, Some(ThereState::Erased(at))) => V::Differs(D::KeepReceipt { at }),
        (None, Some(ThereState::Active(since))) if since >= judged_before => V::TooNew,
        (None, Some(ThereState::Active(_))) => V::Differs(D::LockOrphan),
        (None, Some(ThereState::Locked(at))) => V::Differs(D::LockedOrphan(at)),
    }
}

/// The limit on the number of orphans. Many orphans mean that the accounts are not those that belong to the data, rather
/// than that so many accounts were lost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OrphanLimit {
    /// The share of the people in data, in percent.
    pub percent: f64,
}

impl OrphanLimit {
    /// The number of orphans that is always accepted, unless there is no account at all.
    pub const FLOOR: u64 = 10;
    /// The share that is accepted without a flag, in percent.
    pub const DEFAULT_PERCENT: f64 = 1.0;

    /// Returns whether `orphans` of `people` in data are within the limit. `known_here` is the number of people with an
    /// account or a receipt: without any, only a limit of 100 percent accepts orphans.
    #[must_use]
    pub fn accepts(self, orphans: u64, people: u64, known_here: u64) -> bool {
        if orphans == 0 || self.percent >= 100.0 {
            return true;
        }
        if known_here == 0 {
            return false;
        }
        orphans <= Self::FLOOR || orphans as f64 <= people as f64 * self.percent / 100.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn here(state: HereState, is_waiting: bool) -> Option<Here> {
        let id = Uuid::from_u128(1);
        Some(Here {
            id,
            state,
            is_waiting,
        })
    }

    fn erased(is_complete: bool) -> HereState {
        HereState::Erased {
            at: at(7),
            is_complete,
        }
    }

    #[test]
    fn every_pair_of_states_has_its_verdict() {
        use Difference as D;
        use Verdict as V;
        let [active, locked, tombstone] = [
            ThereState::Active(at(1)),
            ThereState::Locked(at(2)),
            ThereState::Erased(at(3)),
        ];
        let again = V::Differs(D::EraseInData { at: at(7) });
        for (state, there, verdict) in [
            (Some(HereState::Account), None, V::Differs(D::Provision)),
            (Some(HereState::Account), Some(active), V::Agrees),
            (Some(HereState::Account), Some(locked), V::Differs(D::Unlock)),
            (
                Some(HereState::Account),
                Some(tombstone),
                V::Differs(D::EraseAccount { at: at(3) }),
            ),
            (Some(erased(true)), None, again),
            (Some(erased(true)), Some(active), again),
            (Some(erased(true)), Some(locked), again),
            (Some(erased(true)), Some(tombstone), V::Agrees),
            (Some(erased(false)), None, again),
            (Some(erased(false)), Some(active), again),
            (Some(erased(false)), Some(locked), again),
            (Some(erased(false)), Some(tombstone), again),
            (None, None, V::Agrees),
            (None, Some(active), V::Differs(D::LockOrphan)),
            (None, Some(locked), V::Differs(D::LockedOrphan(at(2)))),
            (None, Some(tombstone), V::Differs(D::KeepReceipt { at: at(3) })),
        ] {
            let here_now = state.and_then(|state| here(state, false));
            assert_eq!(compare(here_now, there, at(100)), verdict, "{state:?} {there:?}");
            // A message that waits mends a difference, except that it revives no erased person.
            let waiting = state.and_then(|state| here(state, true));
            let expected = match (verdict, state) {
                (V::Differs(D::EraseAccount { .. }), _) | (_, None) | (V::Agrees, _) => verdict,
                _ => V::Waiting,
            };
            assert_eq!(compare(waiting, there, at(100)), expected, "{state:?} {there:?}");
        }
    }

    #[test]
    fn a_person_who_was_just_provisioned_is_no_orphan() {
        let there = Some(ThereState::Active(at(50)));
        assert_eq!(compare(None, there, at(50)), Verdict::TooNew);
        assert_eq!(
            compare(None, there, at(51)),
            Verdict::Differs(Difference::LockOrphan)
        );
    }

    #[test]
    fn many_orphans_need_a_flag() {
        let limit = |percent| OrphanLimit { percent };
        for (percent, orphans, people, known, accepted) in [
            (1.0, 0, 0, 0, true),
            (1.0, 10, 20, 5, true),
            (1.0, 11, 20, 5, false),
            (1.0, 100, 10_000, 5, true),
            (1.0, 101, 10_000, 5, false),
            (5.0, 101, 10_000, 5, true),
            // An identity without anyone is empty or the wrong one.
            (1.0, 1, 10_000, 0, false),
            (99.0, 1, 10_000, 0, false),
            (100.0, 10_000, 10_000, 0, true),
        ] {
            assert_eq!(
                limit(percent).accepts(orphans, people, known),
                accepted,
                "{percent} {orphans} {people} {known}"
            );
        }
    }
}
