//! Limits on the number of anonymous callers that wait for a passcode to be hashed, in order to open a share.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use haven_platform::{hashing::MAX_WAITING, network::Network};

/// The number of places in the hash queue for all anonymous callers. The rest is for people who make a share.
const MAX_TOTAL: usize = MAX_WAITING / 4 * 3;

/// The number of places for anonymous callers of one network, so that a crowd in one network leaves places for others.
const MAX_PER_NETWORK: usize = MAX_WAITING / 4;

/// The permits of this process. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct AnonymousPermits(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    total: usize,
    /// The number of waiting callers per network. A network without any has no entry.
    by_network: HashMap<Network, usize>,
}

/// A permit to wait for a place in the hash queue. Dropping it returns the permit, also when the call is cancelled.
#[derive(Debug)]
pub struct AnonymousPermit {
    permits: AnonymousPermits,
    network: Option<Network>,
}

// === impl AnonymousPermits ===

impl AnonymousPermits {
    /// Returns a permit for a caller from `network`. `None` when no permit is left. Callers without a known network
    /// count only towards the total.
    pub(super) fn acquire(&self, network: Option<Network>) -> Option<AnonymousPermit> {
        let mut waiting = self.waiting();
        if waiting.total >= MAX_TOTAL {
            return None;
        }
        if let Some(network) = network {
            let of_network = waiting.by_network.entry(network).or_default();
            if *of_network >= MAX_PER_NETWORK {
                return None;
            }
            *of_network += 1;
        }
        waiting.total += 1;
        Some(AnonymousPermit {
            permits: self.clone(),
            network,
        })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl AnonymousPermit ===

impl Drop for AnonymousPermit {
    fn drop(&mut self) {
        let mut waiting = self.permits.waiting();
        waiting.total = waiting.total.saturating_sub(1);
        let Some(network) = self.network else {
            return;
        };
        if let Some(of_network) = waiting.by_network.get_mut(&network) {
            *of_network -= 1;
            if *of_network == 0 {
                waiting.by_network.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(last: u8) -> Option<Network> {
        Some(Network::of([192, 0, 2, last].into()))
    }

    fn acquire_all(permits: &AnonymousPermits, network: Option<Network>) -> Vec<AnonymousPermit> {
        (0..1_000).map_while(|_| permits.acquire(network)).collect()
    }

    #[test]
    fn one_network_has_a_quarter_of_the_queue_and_all_together_three_quarters() {
        let permits = AnonymousPermits::default();
        let mut crowds: Vec<_> = (1..=2).map(|last| acquire_all(&permits, network(last))).collect();
        assert_eq!(crowds.iter().map(Vec::len).collect::<Vec<_>>(), [32, 32]);
        let without_network = acquire_all(&permits, None);
        assert_eq!(without_network.len(), 32, "they count towards the total");
        assert!(permits.acquire(network(3)).is_none());
        drop(crowds.pop());
        assert!(permits.acquire(network(1)).is_none());
        assert_eq!(acquire_all(&permits, network(3)).len(), 32);
    }

    #[test]
    fn returned_permits_leave_no_entry() {
        let permits = AnonymousPermits::default();
        for last in 0..=255 {
            assert_eq!(acquire_all(&permits, network(last)).len(), 32);
        }
        let waiting = permits.waiting();
        assert_eq!((waiting.total, waiting.by_network.len()), (0, 0));
    }
}
