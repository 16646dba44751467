//! Per-key mutex: callers of the same row queue in process instead of each holding a connection.
//!
//! A caller that waits for a row's lock in Postgres holds a connection meanwhile, so many callers of one row would use
//! up the pool. Here they wait before they take a connection, and take one at a time. Each replica has queues of its
//! own; the row's lock still decides between them.

use std::{
    collections::HashMap,
    sync::{Arc, MutexGuard, PoisonError},
};

use tokio::sync::{Mutex, OwnedMutexGuard};

/// A set of mutexes by key, where a key is a keyed hash. Clones share the mutexes.
#[derive(Clone, Debug, Default)]
pub struct KeyedMutex(Arc<std::sync::Mutex<HashMap<[u8; 32], Entry>>>);

/// The mutex of one key. It exists only while a caller holds it or waits for it.
#[derive(Debug, Default)]
struct Entry {
    /// The number of callers that hold the mutex or wait for it.
    callers: usize,
    mutex: Arc<Mutex<()>>,
}

/// The lock on one key. Dropping this value releases the lock.
#[derive(Debug)]
pub struct KeyedGuard {
    _guard: OwnedMutexGuard<()>,
    // Dropped after the guard: fields are dropped in the order of declaration.
    _slot: QueueSlot,
}

/// A caller's place in the queue of one key. It is given up when this is dropped, also when the caller stops waiting.
#[derive(Debug)]
struct QueueSlot {
    mutexes: KeyedMutex,
    key: [u8; 32],
}

// === impl KeyedMutex ===

impl KeyedMutex {
    /// Waits for the lock on `key`, in the order of arrival.
    pub async fn lock(&self, key: &[u8; 32]) -> KeyedGuard {
        let (slot, mutex) = self.enter(*key);
        KeyedGuard {
            _guard: mutex.lock_owned().await,
            _slot: slot,
        }
    }

    fn enter(&self, key: [u8; 32]) -> (QueueSlot, Arc<Mutex<()>>) {
        let mut entries = self.entries();
        let entry = entries.entry(key).or_default();
        entry.callers += 1;
        let slot = QueueSlot {
            mutexes: self.clone(),
            key,
        };
        (slot, Arc::clone(&entry.mutex))
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<[u8; 32], Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl QueueSlot ===

impl Drop for QueueSlot {
    fn drop(&mut self) {
        let mut entries = self.mutexes.entries();
        if let Some(entry) = entries.get_mut(&self.key) {
            entry.callers -= 1;
            if entry.callers == 0 {
                entries.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn callers_of_the_same_key_wait_and_of_another_key_do_not() {
        let mutexes = KeyedMutex::default();
        let mut other = [1; 32];
        other[31] = 2;
        let guard = mutexes.lock(&[1; 32]).await;
        assert!(timeout(SHORT, mutexes.clone().lock(&[1; 32])).await.is_err());
        assert!(timeout(SHORT, mutexes.lock(&other)).await.is_ok());
        drop(guard);
        assert!(timeout(SHORT, mutexes.lock(&[1; 32])).await.is_ok());
    }

    #[tokio::test]
    async fn a_mutex_is_removed_when_no_caller_uses_it() {
        let mutexes = KeyedMutex::default();
        let guard = mutexes.lock(&[1; 32]).await;
        // A caller that stops waiting leaves the queue to the others.
        assert!(timeout(SHORT, mutexes.lock(&[1; 32])).await.is_err());
        assert_eq!(mutexes.entries()[&[1; 32]].callers, 1);
        let waiting = tokio::spawn({
            let mutexes = mutexes.clone();
            async move { mutexes.lock(&[1; 32]).await }
        });
        tokio::task::yield_now().await;
        drop(guard);
        let guard = waiting.await.unwrap();
        assert!(timeout(SHORT, mutexes.lock(&[1; 32])).await.is_err());
        drop(guard);
        assert!(mutexes.entries().is_empty());
    }
}
