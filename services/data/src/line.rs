//! Lines for what Postgres does one at a time.
//!
//! Whoever waits for a row's lock in Postgres keeps a connection for as long, and a crowd that wants one row would keep all of
//! them. Here they wait first, for nothing but their turn, and take one connection between them. Other replicas have lines of
//! their own: the lock is still what decides.

use std::sync::Arc;

use tokio::sync::{Mutex, MutexGuard};

/// How many lines there are. What shares one by chance waits in vain for a few milliseconds.
const LINES: usize = 256;

/// Lines. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Lines(Arc<[Mutex<()>]>);

impl Default for Lines {
    fn default() -> Self {
        Self((0..LINES).map(|_| Mutex::default()).collect())
    }
}

impl Lines {
    /// Waits for a turn at what this keyed hash names, in the order of arrival. The turn ends when the guard is dropped.
    pub async fn turn(&self, hash: &[u8; 32]) -> MutexGuard<'_, ()> {
        let [first, ..] = hash;
        self.0[usize::from(*first) % LINES].lock().await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn what_is_the_same_waits_and_what_is_not_does_not() {
        let lines = Lines::default();
        let turn = lines.turn(&[1; 32]).await;
        let short = Duration::from_millis(20);
        assert!(timeout(short, lines.clone().turn(&[1; 32])).await.is_err());
        assert!(timeout(short, lines.turn(&[2; 32])).await.is_ok());
        drop(turn);
        assert!(timeout(short, lines.turn(&[1; 32])).await.is_ok());
    }
}
