//! How many of those may wait for a turn to hash whom nobody knows: whoever opens a share.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use haven_platform::{hashing::MAX_WAITING, network::Network};

/// Places in the queue for all of them: the others are for people who make a share.
const MOST: usize = MAX_WAITING / 4 * 3;

/// Places for those of one network. A crowd from one place leaves the others' to them.
const MOST_OF_A_NETWORK: usize = MAX_WAITING / 4;

/// Those who wait, in this process. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub(super) struct Strangers(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    total: usize,
    /// Has the networks that somebody waits from, and no others.
    by_network: HashMap<Network, usize>,
}

/// One of them, with a place, which is given up when this is dropped: also when the caller goes away.
#[derive(Debug)]
pub struct Stranger {
    strangers: Strangers,
    network: Option<Network>,
}

// === impl Strangers ===

impl Strangers {
    /// Lets somebody from `network` in; none when there is no place left. Where the server does not see networks, they
    /// count together alone.
    pub(super) fn enter(&self, network: Option<Network>) -> Option<Stranger> {
        let mut waiting = self.waiting();
        if waiting.total >= MOST {
            return None;
        }
        if let Some(network) = network {
            let of_network = waiting.by_network.entry(network).or_default();
            if *of_network >= MOST_OF_A_NETWORK {
                return None;
            }
            *of_network += 1;
        }
        waiting.total += 1;
        Some(Stranger {
            strangers: self.clone(),
            network,
        })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Stranger ===

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut waiting = self.strangers.waiting();
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

    fn crowd(strangers: &Strangers, network: Option<Network>) -> Vec<Stranger> {
        (0..1_000).map_while(|_| strangers.enter(network)).collect()
    }

    #[test]
    fn one_network_has_a_quarter_and_all_have_three() {
        let strangers = Strangers::default();
        let mut crowds: Vec<_> = (1..=2).map(|last| crowd(&strangers, network(last))).collect();
        assert_eq!(crowds.iter().map(Vec::len).collect::<Vec<_>>(), [32, 32]);
        let last = crowd(&strangers, None);
        assert_eq!(last.len(), 32, "whoever is from nowhere counts too");
        assert!(strangers.enter(network(3)).is_none());
        drop(crowds.pop());
        assert!(strangers.enter(network(1)).is_none());
        assert_eq!(crowd(&strangers, network(3)).len(), 32);
    }

    #[test]
    fn whoever_is_gone_is_forgotten() {
        let strangers = Strangers::default();
        for last in 0..=255 {
            assert_eq!(crowd(&strangers, network(last)).len(), 32);
        }
        let waiting = strangers.waiting();
        assert_eq!((waiting.total, waiting.by_network.len()), (0, 0));
    }
}
