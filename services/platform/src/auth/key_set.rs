//! The public keys of our own issuer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    sync::{Notify, Semaphore, watch},
    time::{Instant, timeout_at},
};

use super::verifying_key::VerifyingKey;
use crate::deadline::Deadline;

/// An unknown key id is a reason to ask for the keys again, but not more often than this.
const REQUEST_INTERVAL: Duration = Duration::from_secs(10);

/// How long a call waits for keys that were requested_at for because of it.
const WAIT: Duration = Duration::from_secs(2);

/// The keys of our own issuer that are known now, and the way to more.
///
/// Whoever fills it calls [`KeySet::replace`]; what it holds stays, however long nobody does: data keeps serving
/// through an outage of identity.
#[derive(Debug)]
pub struct KeySet {
    keys: ArcSwap<HashMap<String, VerifyingKey>>,
    replaced: watch::Sender<()>,
    requested_at: Mutex<Option<Instant>>,
    requested: Notify,
    /// Places for those who wait for a key that is not there.
    wait_permits: Semaphore,
}

/// How many calls wait for keys at once: a token with an unknown key costs nothing to make, and whoever waits has a permit
/// among the calls under way.
const MAX_WAITING: usize = 16;

/// What looking for a key came to.
#[derive(Debug)]
pub(super) enum KeyLookup {
    Key(VerifyingKey),
    /// There are keys, and this is none of them.
    Unknown,
    /// There were no keys yet.
    NoKeys,
}

impl KeySet {
    /// No keys yet.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            keys: ArcSwap::default(),
            replaced: watch::Sender::new(()),
            requested_at: Mutex::new(None),
            requested: Notify::new(),
            wait_permits: Semaphore::new(MAX_WAITING),
        }
    }

    /// These keys for ever: nobody waits for another one.
    pub fn set_permanently(&self, keys: impl IntoIterator<Item = VerifyingKey>) {
        self.replace(keys);
        self.wait_permits.close();
    }

    /// These keys and no others.
    pub fn replace(&self, keys: impl IntoIterator<Item = VerifyingKey>) {
        let keys: HashMap<_, _> = keys.into_iter().map(|key| (key.id().to_owned(), key)).collect();
        self.keys.store(Arc::new(keys));
        self.replaced.send_replace(());
    }

    /// Returns when a call needs a key that is not there: for whoever fills the set.
    pub async fn next_request(&self) {
        self.requested.notified().await;
    }

    pub(super) async fn find(&self, id: &str, deadline: Deadline) -> KeyLookup {
        if let Some(key) = self.keys.load().get(id) {
            return KeyLookup::Key(key.clone());
        }
        let mut replaced = self.replaced.subscribe();
        // Whoever finds too many waiting is answered by what is there; where nothing is, nobody can be served, and everybody
        // waits. Another call may have got it between the look and the subscription.
        let permit = self.wait_permits.try_acquire();
        let waits = {
            let known = self.keys.load();
            (permit.is_ok() || known.is_empty()) && !known.contains_key(id)
        };
        if waits {
            let until = (self.request() + WAIT).min(deadline.instant());
            // Whether keys came or the wait is over, what counts is what is there now.
            let _ = timeout_at(until, replaced.changed()).await;
        }
        let keys = self.keys.load();
        match keys.get(id) {
            Some(key) => KeyLookup::Key(key.clone()),
            None if keys.is_empty() => KeyLookup::NoKeys,
            None => KeyLookup::Unknown,
        }
    }

    /// When the keys were last requested_at for: now, unless that was a moment ago. While identity is down, calls with unknown
    /// keys wait together, and then no more of them for a while.
    fn request(&self) -> Instant {
        let now = Instant::now();
        let mut requested_at = self.requested_at.lock().unwrap_or_else(PoisonError::into_inner);
        match *requested_at {
            Some(before) if now.duration_since(before) < REQUEST_INTERVAL => before,
            _ => {
                *requested_at = Some(now);
                self.requested.notify_one();
                now
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
    const Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(30))
    }

    #[tokio::test]
    async fn an_unknown_key_is_asked_for_and_then_not_for_a_while() {
        let keys = Arc::new(KeySet::empty());
        let filler = Arc::clone(&keys);
        tokio::spawn(async move {
            filler.next_request().await;
            filler.replace([VerifyingKey::from_coordinates("k1", X, Y).unwrap()]);
        });
        assert!(matches!(keys.find("k1", soon()).await, KeyLookup::Key(_)));

        // Nobody fills it any more: calls wait together for what was requested_at for, and then not at all.
        let before = Instant::now();
        assert!(matches!(keys.find("k2", soon()).await, KeyLookup::Unknown));
        assert!(before.elapsed() <= WAIT + WAIT / 4);
        let before = Instant::now();
        assert!(matches!(keys.find("k2", soon()).await, KeyLookup::Unknown));
        assert!(before.elapsed() < WAIT / 4, "{:?}", before.elapsed());
    }

    #[tokio::test]
    async fn nobody_waits_where_no_other_key_will_come_or_too_many_wait() {
        let key = || VerifyingKey::from_coordinates("k1", X, Y).unwrap();
        let settled = KeySet::empty();
        settled.set_permanently([key()]);
        let before = Instant::now();
        assert!(matches!(settled.find("k1", soon()).await, KeyLookup::Key(_)));
        assert!(matches!(settled.find("k2", soon()).await, KeyLookup::Unknown));
        assert!(before.elapsed() < WAIT / 4, "{:?}", before.elapsed());

        let keys = Arc::new(KeySet::empty());
        keys.replace([key()]);
        let waiting: Vec<_> = (0..MAX_WAITING)
            .map(|_| {
                let keys = Arc::clone(&keys);
                tokio::spawn(async move { matches!(keys.find("k2", soon()).await, KeyLookup::Unknown) })
            })
            .collect();
        while keys.wait_permits.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let before = Instant::now();
        assert!(matches!(keys.find("k2", soon()).await, KeyLookup::Unknown));
        assert!(before.elapsed() < WAIT / 4, "{:?}", before.elapsed());
        for waiter in waiting {
            assert!(waiter.await.unwrap());
        }
    }

    /// A service that has just started, and is requested_at by a crowd before it has its first keys.
    #[tokio::test]
    async fn everybody_waits_for_the_first_keys() {
        let keys = Arc::new(KeySet::empty());
        let waiting: Vec<_> = (0..MAX_WAITING * 3)
            .map(|_| {
                let keys = Arc::clone(&keys);
                tokio::spawn(async move { matches!(keys.find("k1", soon()).await, KeyLookup::Key(_)) })
            })
            .collect();
        while keys.replaced.receiver_count() < waiting.len() {
            tokio::task::yield_now().await;
        }
        keys.replace([VerifyingKey::from_coordinates("k1", X, Y).unwrap()]);
        for waiter in waiting {
            assert!(waiter.await.unwrap());
        }
    }

    #[tokio::test]
    async fn without_any_keys_that_is_what_it_says() {
        let nobody_fills = KeySet::empty()
            .find("k1", Deadline::after(Duration::from_millis(20)))
            .await;
        assert!(matches!(nobody_fills, KeyLookup::NoKeys));
    }
}
