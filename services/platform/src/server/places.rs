//! Places: a fixed number of permits, shared out so that no holder takes them all.
//!
//! A holder, such as a network or a person, may hold at most a share of the places that are free at the moment (the dynamic
//! threshold of Choudhury and Hahne, 1998). With few holders each has much; as places get scarce, the shares of all shrink. The
//! last place of all is for a holder that has none.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The share of the free places that one holder may hold, in eighths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fraction(pub(super) usize);

impl Fraction {
    /// Returns how many places a holder may hold while `free` are free: at least one while any is free.
    fn of(self, free: usize) -> usize {
        match free {
            0 | 1 => 1,
            _ => (free.saturating_mul(self.0) / 8).max(1),
        }
    }
}

/// A number of places for holders of the type `H`. Cloning shares them.
pub(super) struct Places<H> {
    total: usize,
    state: Arc<Mutex<State<H>>>,
}

struct State<H> {
    used: usize,
    /// The places of each holder. A holder without a place has no entry.
    held: HashMap<H, usize>,
}

/// The reason why there is no place for a holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoPlace<H> {
    /// All places are taken.
    Full,
    /// This holder has its share.
    Holder(H),
}

impl<H: Clone + Eq + Hash> Places<H> {
    pub(super) fn new(total: usize) -> Self {
        let held = HashMap::new();
        Self {
            total,
            state: Arc::new(Mutex::new(State { used: 0, held })),
        }
    }

    /// Takes a place, which counts for each of `holders`.
    pub(super) fn take(&self, holders: &[(H, Fraction)]) -> Result<Place<H>, NoPlace<H>> {
        let mut state = self.state();
        let free = self.total - state.used;
        if free == 0 {
            return Err(NoPlace::Full);
        }
        for (holder, fraction) in holders {
            if state.held_by(holder) >= fraction.of(free) {
                return Err(NoPlace::Holder(holder.clone()));
            }
        }
        state.used += 1;
        Ok(self.place(&mut state, holders.iter().map(|(holder, _)| holder.clone()), 1))
    }

    /// Counts a place that was taken already for one more holder, which may hold at most `most`.
    pub(super) fn count_for(
        &self,
        holder: H,
        fraction: Fraction,
        most: usize,
    ) -> Result<Place<H>, NoPlace<H>> {
        let mut state = self.state();
        // The place itself is not free any more.
        let free = self.total - state.used + 1;
        if state.held_by(&holder) >= fraction.of(free).min(most) {
            return Err(NoPlace::Holder(holder));
        }
        Ok(self.place(&mut state, std::iter::once(holder), 0))
    }

    /// Returns the number of places that are taken.
    pub(super) fn used(&self) -> usize {
        self.state().used
    }

    fn place(&self, state: &mut State<H>, holders: impl Iterator<Item = H>, places: usize) -> Place<H> {
        let holders: Vec<H> = holders.collect();
        for holder in &holders {
            *state.held.entry(holder.clone()).or_default() += 1;
        }
        Place {
            places: self.clone(),
            holders,
            used: places,
        }
    }
}

impl<H> Places<H> {
    fn state(&self) -> MutexGuard<'_, State<H>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<H> Clone for Places<H> {
    fn clone(&self) -> Self {
        Self {
            total: self.total,
            state: Arc::clone(&self.state),
        }
    }
}

/// Shows no holder: people and networks are private.
impl<H> fmt::Debug for Places<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Places")
            .field("total", &self.total)
            .finish_non_exhaustive()
    }
}

impl<H: Eq + Hash> State<H> {
    fn held_by(&self, holder: &H) -> usize {
        self.held.get(holder).copied().unwrap_or_default()
    }
}

/// A place, or the count of one, until it is dropped.
pub(super) struct Place<H: Eq + Hash> {
    places: Places<H>,
    holders: Vec<H>,
    /// 1 when this is a place, 0 when it is another's count.
    used: usize,
}

impl<H: Eq + Hash> Drop for Place<H> {
    fn drop(&mut self) {
        let mut state = self.places.state();
        state.used -= self.used;
        for holder in &self.holders {
            if let Some(held) = state.held.get_mut(holder) {
                *held -= 1;
                if *held == 0 {
                    state.held.remove(holder);
                }
            }
        }
    }
}

impl<H: Eq + Hash> fmt::Debug for Place<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// Takes places for `holder` until it is refused.
    fn hoard(places: &Places<u32>, holder: u32, fraction: Fraction) -> Vec<Place<u32>> {
        std::iter::from_fn(|| places.take(&[(holder, fraction)]).ok()).collect()
    }

    #[test]
    fn a_lone_holder_leaves_its_fraction_free() {
        for (eighths, total, expected) in [
            (8, 64, 32),
            (16, 96, 64),
            (32, 100, 80),
            (1, 128, 14),
            (8, 1, 1),
            (32, 2, 1),
        ] {
            let places = Places::new(total);
            let held = hoard(&places, 1, Fraction(eighths));
            assert_eq!(held.len(), expected, "{eighths}/8 of {total}");
            drop(held);
            assert_eq!(places.used(), 0);
            assert!(
                places.state().held.is_empty(),
                "a holder without a place has an entry"
            );
        }
    }

    #[test]
    fn a_place_counts_for_each_of_its_holders() {
        let places = Places::new(16);
        let (network, connection) = ((1, Fraction(16)), (2, Fraction(8)));
        let mut held: Vec<_> = std::iter::from_fn(|| places.take(&[network, connection]).ok()).collect();
        assert_eq!(held.len(), 8);
        assert_eq!(
            places.take(&[network, connection]).unwrap_err(),
            NoPlace::Holder(2)
        );
        // Another connection of the network has what the network's share leaves.
        held.extend(std::iter::from_fn(|| {
            places.take(&[network, (3, Fraction(8))]).ok()
        }));
        assert!((9..=11).contains(&held.len()), "{}", held.len());
        let rest: Vec<_> = std::iter::from_fn(|| places.take(&[]).ok()).collect();
        assert_eq!(held.len() + rest.len(), 16);
        assert_eq!(places.take(&[(9, Fraction(8))]).unwrap_err(), NoPlace::Full);
    }

    #[test]
    fn a_count_takes_no_place_and_has_a_maximum() {
        let places = Places::new(16);
        let taken = [(); 4].map(|()| places.take(&[]).unwrap());
        let counts: Vec<_> = std::iter::from_fn(|| places.count_for(7, Fraction(8), 3).ok()).collect();
        assert_eq!((counts.len(), places.used()), (3, 4));
        // The last place of all still has a holder.
        let rest: Vec<_> = std::iter::from_fn(|| places.take(&[]).ok()).collect();
        assert_eq!(taken.len() + rest.len(), 16);
        let _first = places.count_for(8, Fraction(8), 3).unwrap();
        assert!(places.count_for(8, Fraction(8), 3).is_err());
    }

    proptest! {
        /// Holders that take all they can, and give some back, in any order, leave a place for another one.
        #[test]
        fn greedy_holders_leave_a_place_for_another_one(
            total in 8_usize..300,
            eighths in 1_usize..=40,
            turns in vec((0_u32..7, any::<bool>()), 1..400),
        ) {
            let places = Places::new(total);
            let fraction = Fraction(eighths);
            let mut held: Vec<Vec<_>> =
                (0..7).map(|holder| vec![places.take(&[(holder, fraction)]).unwrap()]).collect();
            for (holder, gives_back) in turns {
                let mine = &mut held[holder as usize];
                if gives_back && mine.len() > 1 {
                    mine.pop();
                } else {
                    mine.extend(hoard(&places, holder, fraction));
                }
                let another = places.take(&[(99, fraction)]);
                prop_assert!(another.is_ok(), "{} of {total} used", places.used());
            }
            prop_assert_eq!(held.iter().map(Vec::len).sum::<usize>(), places.used());
        }

        /// Holders that release their places and take others end with equal shares, in spite of an unequal start.
        #[test]
        fn holders_that_come_and_go_end_with_equal_parts(holders in 1_usize..12) {
            let places = Places::new(192);
            let mut held: Vec<Vec<_>> = (0..holders).map(|_| Vec::new()).collect();
            for turn in 0..4_000 {
                let holder = turn % holders;
                let mine = &mut held[holder];
                if turn / holders % 2 == 1 {
                    mine.pop();
                }
                for _ in 0..2 {
                    mine.extend(places.take(&[(holder, Fraction(8))]));
                }
            }
            let fair = 192 / (holders + 1);
            for mine in &held {
                prop_assert!(mine.len().abs_diff(fair) <= 3, "{} instead of {fair}", mine.len());
            }
        }
    }
}
