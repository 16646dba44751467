//! Limits on the number of callers that wait for costly work, such as a hash, in total and for each holder.
//!
//! ```
//! use haven_platform::permits::{NoPermit, Permits};
//!
//! let permits = Permits::new(4, 2, "user");
//! let held = [permits.acquire(Some(1)), permits.acquire(Some(1))];
//! assert_eq!(permits.acquire(Some(1)).unwrap_err(), NoPermit::Holder("user"));
//! assert!(permits.acquire(Some(2)).is_ok());
//! drop(held);
//! assert!(permits.acquire(Some(1)).is_ok());
//! ```

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use thiserror::Error;

use crate::{failure::Failure, reason::Reason};

/// The permits of this process for one kind of caller. Clones share them. `K` is the holder, such as a network or a person.
#[derive(Clone, Debug)]
pub struct Permits<K> {
    total: usize,
    per_holder: usize,
    holder: &'static str,
    waiting: Arc<Mutex<Waiting<K>>>,
}

#[derive(Debug)]
struct Waiting<K> {
    total: usize,
    /// The number of waiting callers per holder. A holder without any has no entry.
    by_holder: HashMap<K, usize>,
}

/// The reason why there is no permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoPermit {
    /// All are in use.
    #[error("all permits for this work are in use")]
    Total,
    /// The holder has as many as it may have.
    #[error("the {0} has as many permits for this work as it may have")]
    Holder(&'static str),
}

/// A permit to wait for the work. Dropping it returns the permit, also when the call is cancelled.
#[derive(Debug)]
pub struct Permit<K: Copy + Eq + Hash> {
    waiting: Arc<Mutex<Waiting<K>>>,
    holder: Option<K>,
}

// === impl Permits ===

impl<K: Copy + Eq + Hash> Permits<K> {
    /// Creates `total` permits, of which one holder can have `per_holder`. `holder` names its kind for callers: `network` or
    /// `user`.
    #[must_use]
    pub fn new(total: usize, per_holder: usize, holder: &'static str) -> Self {
        let waiting = Waiting {
            total: 0,
            by_holder: HashMap::new(),
        };
        Self {
            total,
            per_holder,
            holder,
            waiting: Arc::new(Mutex::new(waiting)),
        }
    }

    /// Returns a permit for `holder`. Callers without a known holder count only towards the total.
    ///
    /// # Errors
    ///
    /// When no permit is left.
    pub fn acquire(&self, holder: Option<K>) -> Result<Permit<K>, NoPermit> {
        let mut waiting = lock(&self.waiting);
        if waiting.total >= self.total {
            return Err(NoPermit::Total);
        }
        if let Some(holder) = holder {
            let held = waiting.by_holder.entry(holder).or_default();
            if *held >= self.per_holder {
                return Err(NoPermit::Holder(self.holder));
            }
            *held += 1;
        }
        waiting.total += 1;
        Ok(Permit {
            waiting: Arc::clone(&self.waiting),
            holder,
        })
    }
}

fn lock<K>(waiting: &Mutex<Waiting<K>>) -> MutexGuard<'_, Waiting<K>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl NoPermit ===

impl From<NoPermit> for Failure {
    fn from(no_permit: NoPermit) -> Self {
        match no_permit {
            NoPermit::Total => Self::new(Reason::Overloaded),
            NoPermit::Holder(holder) => {
                Self::new(Reason::TooManyCalls).metadata("holder", holder.to_ascii_uppercase())
            }
        }
    }
}

// === impl Permit ===

impl<K: Copy + Eq + Hash> Drop for Permit<K> {
    fn drop(&mut self) {
        let mut waiting = lock(&self.waiting);
        waiting.total = waiting.total.saturating_sub(1);
        let Some(holder) = self.holder else {
            return;
        };
        if let Some(held) = waiting.by_holder.get_mut(&holder) {
            *held -= 1;
            if *held == 0 {
                waiting.by_holder.remove(&holder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acquire_all(permits: &Permits<u8>, holder: Option<u8>) -> Vec<Permit<u8>> {
        (0..1_000).map_while(|_| permits.acquire(holder).ok()).collect()
    }

    #[test]
    fn one_holder_has_its_part_and_all_together_have_the_total() {
        let permits = Permits::new(96, 32, "network");
        let mut crowds: Vec<_> = (1..=2)
            .map(|holder| acquire_all(&permits, Some(holder)))
            .collect();
        assert_eq!(crowds.iter().map(Vec::len).collect::<Vec<_>>(), [32, 32]);
        let without_holder = acquire_all(&permits, None);
        assert_eq!(without_holder.len(), 32, "they count towards the total");
        assert_eq!(permits.acquire(Some(3)).unwrap_err(), NoPermit::Total);
        drop(crowds.pop());
        assert_eq!(permits.acquire(Some(1)).unwrap_err(), NoPermit::Holder("network"));
        assert_eq!(acquire_all(&permits, Some(3)).len(), 32);
    }

    #[test]
    fn returned_permits_leave_no_entry() {
        let permits = Permits::new(96, 32, "network");
        for holder in 0..=255 {
            assert_eq!(acquire_all(&permits, Some(holder)).len(), 32);
        }
        let waiting = lock(&permits.waiting);
        assert_eq!((waiting.total, waiting.by_holder.len()), (0, 0));
    }
}
