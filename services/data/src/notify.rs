//! Signals inside one process: that there is something new to look for.

use std::{sync::Arc, time::Duration};

use haven_platform::call::UserId;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

/// How often to look without having been told: another replica's news comes without a signal.
const UNTOLD: Duration = Duration::from_secs(1);

/// Says that there is something new, to everybody who waits.
///
/// A channel of Postgres (LISTEN) would tell other replicas too, and does not work behind a pooler in transaction mode;
/// NOTIFY also makes commits wait for each other. Looking once a second does for those.
#[derive(Clone, Debug, Default)]
pub struct Notify(watch::Sender<()>);

/// Somebody who waits. What was said since they began, or since they last waited, is not missed.
#[derive(Debug)]
pub struct Waiting(watch::Receiver<()>);

impl Notify {
    /// Says that there is something new.
    pub fn notify(&self) {
        self.0.send_replace(());
    }

    /// Begins to wait. To be called before looking, so that nothing comes in between.
    #[must_use]
    pub fn wait(&self) -> Waiting {
        Waiting(self.0.subscribe())
    }
}

impl Waiting {
    /// Returns when it is time to look again: when there is something new, or a second has passed, or `until` has come.
    pub async fn next(&mut self, until: Instant) {
        let untold = Instant::now() + UNTOLD;
        // The sender lives as long as the service; if it were gone, looking once a second would still do.
        if let Ok(Err(_)) = timeout_at(untold.min(until), self.0.changed()).await {
            tokio::time::sleep_until(untold.min(until)).await;
        }
    }
}

/// Signals to people's devices. Several people share one, so some look in vain, and nothing has to be kept of anybody.
#[derive(Clone, Debug)]
pub struct PersonNotify(Arc<[Notify]>);

/// How many signals people share.
const SHARED: usize = 256;

impl Default for PersonNotify {
    fn default() -> Self {
        Self((0..SHARED).map(|_| Notify::default()).collect())
    }
}

impl PersonNotify {
    /// The signal of `person`.
    #[must_use]
    pub fn of(&self, person: UserId) -> &Notify {
        // The last byte of a UUID is random in every version that people have.
        let [.., last] = person.as_uuid().as_bytes();
        &self.0[usize::from(*last) % SHARED]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_signal_between_looking_and_waiting_is_not_missed() {
        let signal = Notify::default();
        let mut waiting = signal.wait();
        let began = Instant::now();
        let later = began + Duration::from_secs(60);
        signal.notify();
        waiting.next(later).await;
        assert!(began.elapsed() < UNTOLD / 2, "{:?}", began.elapsed());
        waiting.next(later).await;
        assert!(began.elapsed() >= UNTOLD, "{:?}", began.elapsed());
        waiting.next(Instant::now() + Duration::from_millis(10)).await;
        assert!(began.elapsed() < UNTOLD * 2, "{:?}", began.elapsed());
    }
}
