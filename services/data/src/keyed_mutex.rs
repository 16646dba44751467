//! KeyedMutex for what Postgres does one at a time.
//!
//! Whoever waits for a row's lock in Postgres keeps a connection for as long, and a crowd that wants one row would keep all of
//! them. Here they wait first, for nothing but their turn, and take one connection between them. Other replicas have lines of
//! their own: the lock is still what decides.

use std::{
    collections::HashMap,
    sync::{Arc, MutexGuard, PoisonError},
};

use tokio::sync::{Mutex, OwnedMutexGuard};

/// KeyedMutex. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct KeyedMutex(Arc<std::sync::Mutex<HashMap<[u8; 32], Line>>>);

/// A line that somebody is in: where nobody is, there is none.
#[derive(Debug, Default)]
struct Line {
    /// How many have a place in it, with whoever's turn it is.
    places: usize,
    turn: Arc<Mutex<()>>,
}

/// A turn. It ends when it is dropped.
#[derive(Debug)]
pub struct Turn {
    _turn: OwnedMutexGuard<()>,
    /// Given up after the turn.
    _place: QueueSlot,
}

/// A place in a line, given up when it is dropped: also when its caller goes away.
#[derive(Debug)]
struct QueueSlot {
    lines: KeyedMutex,
    hash: [u8; 32],
}

// === impl KeyedMutex ===

impl KeyedMutex {
    /// Waits for a turn at what this keyed hash names, in the order of arrival.
    pub async fn turn(&self, hash: &[u8; 32]) -> Turn {
        let (place, turn) = self.enter(*hash);
        Turn {
            _turn: turn.lock_owned().await,
            _place: place,
        }
    }

    fn enter(&self, hash: [u8; 32]) -> (QueueSlot, Arc<Mutex<()>>) {
        let mut lines = self.lines();
        let line = lines.entry(hash).or_default();
        line.places += 1;
        let place = QueueSlot {
            lines: self.clone(),
            hash,
        };
        (place, Arc::clone(&line.turn))
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<[u8; 32], Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl QueueSlot ===

impl Drop for QueueSlot {
    fn drop(&mut self) {
        let mut lines = self.lines.lines();
        if let Some(line) = lines.get_mut(&self.hash) {
            line.places -= 1;
            if line.places == 0 {
                lines.remove(&self.hash);
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
    async fn what_is_the_same_waits_and_what_is_not_does_not() {
        let lines = KeyedMutex::default();
        let mut other = [1; 32];
        other[31] = 2;
        let turn = lines.turn(&[1; 32]).await;
        assert!(timeout(SHORT, lines.clone().turn(&[1; 32])).await.is_err());
        assert!(timeout(SHORT, lines.turn(&other)).await.is_ok());
        drop(turn);
        assert!(timeout(SHORT, lines.turn(&[1; 32])).await.is_ok());
    }

    #[tokio::test]
    async fn a_line_is_forgotten_when_nobody_is_in_it() {
        let lines = KeyedMutex::default();
        let turn = lines.turn(&[1; 32]).await;
        // Who goes away while they wait leaves the line to the others.
        assert!(timeout(SHORT, lines.turn(&[1; 32])).await.is_err());
        assert_eq!(lines.lines()[&[1; 32]].places, 1);
        let waiting = tokio::spawn({
            let lines = lines.clone();
            async move { lines.turn(&[1; 32]).await }
        });
        tokio::task::yield_now().await;
        drop(turn);
        let turn = waiting.await.unwrap();
        assert!(timeout(SHORT, lines.turn(&[1; 32])).await.is_err());
        drop(turn);
        assert!(lines.lines().is_empty());
    }
}
