//! The public keys of Haven's own issuer.

use std::{collections::HashMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;

use super::{key_requests::KeyRequests, verifying_key::VerifyingKey};
use crate::deadline::Deadline;

/// The minimum time between two requests for new keys, which unknown key ids cause.
const REQUEST_INTERVAL: Duration = Duration::from_secs(10);

/// The known public keys of Haven's own issuer, and a way to request new ones.
///
/// The service that uses the set calls [`KeySet::replace`]; between calls the keys stay, however long that takes, so
/// that tokens are still verified while the issuer is down.
#[derive(Debug)]
pub struct KeySet {
    keys: ArcSwap<HashMap<String, VerifyingKey>>,
    requests: KeyRequests,
}

/// The result of a key lookup.
#[derive(Debug)]
pub(super) enum KeyLookup {
    Key(VerifyingKey),
    /// There are keys, but none with this id.
    Unknown,
    /// There are no keys yet.
    NoKeys,
}

impl KeySet {
    /// Creates an empty set.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            keys: ArcSwap::default(),
            requests: KeyRequests::new(REQUEST_INTERVAL),
        }
    }

    /// Replaces the keys for good: lookups of an unknown key no longer wait.
    pub fn set_permanently(&self, keys: impl IntoIterator<Item = VerifyingKey>) {
        self.replace(keys);
        self.requests.close();
    }

    /// Replaces all keys, and wakes the lookups that wait.
    pub fn replace(&self, keys: impl IntoIterator<Item = VerifyingKey>) {
        let keys: HashMap<_, _> = keys.into_iter().map(|key| (key.id().to_owned(), key)).collect();
        self.keys.store(Arc::new(keys));
        self.requests.answer();
    }

    /// Returns whether keys have arrived.
    pub(super) fn has_keys(&self) -> bool {
        !self.keys.load().is_empty()
    }

    /// Waits until a lookup requests keys that are not in the set: for the task that fills it.
    pub async fn next_request(&self) {
        self.requests.next().await;
    }

    /// Returns whether the set has this very key under `id` now.
    pub(super) fn holds(&self, id: &str, key: &VerifyingKey) -> bool {
        self.keys.load().get(id).is_some_and(|found| found.is_same(key))
    }

    pub(super) async fn find(&self, id: &str, deadline: Deadline) -> KeyLookup {
        if let Some(key) = self.keys.load().get(id) {
            return KeyLookup::Key(key.clone());
        }
        let (is_empty, is_known) = (
            || self.keys.load().is_empty(),
            || self.keys.load().contains_key(id),
        );
        self.requests.wait(deadline, is_empty, is_known).await;
        let keys = self.keys.load();
        match keys.get(id) {
            Some(key) => KeyLookup::Key(key.clone()),
            None if keys.is_empty() => KeyLookup::NoKeys,
            None => KeyLookup::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::{
        super::key_requests::{MAX_WAITING, WAIT},
        *,
    };

    const X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
    const Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(30))
    }

    #[tokio::test]
    async fn an_unknown_key_is_requested_once_per_interval() {
        let keys = Arc::new(KeySet::empty());
        let filler = Arc::clone(&keys);
        tokio::spawn(async move {
            filler.next_request().await;
            filler.replace([VerifyingKey::from_coordinates("k1", X, Y).unwrap()]);
        });
        assert!(matches!(keys.find("k1", soon()).await, KeyLookup::Key(_)));

        // No more keys arrive: calls wait together for the request, and later calls do not wait.
        let before = Instant::now();
        assert!(matches!(keys.find("k2", soon()).await, KeyLookup::Unknown));
        assert!(before.elapsed() <= WAIT + WAIT / 4);
        let before = Instant::now();
        assert!(matches!(keys.find("k2", soon()).await, KeyLookup::Unknown));
        assert!(before.elapsed() < WAIT / 4, "{:?}", before.elapsed());
    }

    #[tokio::test]
    async fn a_lookup_does_not_wait_when_keys_are_permanent_or_too_many_calls_wait() {
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
        while keys.requests.has_permits() {
            tokio::task::yield_now().await;
        }
        let before = Instant::now();
        assert!(matches!(keys.find("k2", soon()).await, KeyLookup::Unknown));
        assert!(before.elapsed() < WAIT / 4, "{:?}", before.elapsed());
        for waiter in waiting {
            assert!(waiter.await.unwrap());
        }
    }

    /// A service that has just started receives many calls before its first keys.
    #[tokio::test]
    async fn every_call_waits_for_the_first_keys() {
        let keys = Arc::new(KeySet::empty());
        let waiting: Vec<_> = (0..MAX_WAITING * 3)
            .map(|_| {
                let keys = Arc::clone(&keys);
                tokio::spawn(async move { matches!(keys.find("k1", soon()).await, KeyLookup::Key(_)) })
            })
            .collect();
        while keys.requests.waiting() < waiting.len() {
            tokio::task::yield_now().await;
        }
        keys.replace([VerifyingKey::from_coordinates("k1", X, Y).unwrap()]);
        for waiter in waiting {
            assert!(waiter.await.unwrap());
        }
    }

    #[tokio::test]
    async fn a_lookup_in_an_empty_set_reports_that_there_are_no_keys() {
        let nobody_fills = KeySet::empty()
            .find("k1", Deadline::after(Duration::from_millis(20)))
            .await;
        assert!(matches!(nobody_fills, KeyLookup::NoKeys));
    }
}
