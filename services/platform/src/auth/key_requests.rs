//! Requests for keys that are not known yet, and the calls that wait for them.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, Semaphore, watch},
    time::{Instant, timeout_at},
};

use crate::deadline::Deadline;

/// The maximum time for which a call waits for the keys that it requested.
pub(super) const WAIT: Duration = Duration::from_secs(2);

/// The maximum number of calls that wait for keys at once: a token with an unknown key id costs nothing to make, and
/// each waiting call also counts as a call in flight.
pub(super) const MAX_WAITING: usize = 16;

/// The requests of calls for the keys of one issuer, and their answers.
#[derive(Debug)]
pub(super) struct KeyRequests {
    /// The minimum time between two requests.
    interval: Duration,
    answered: watch::Sender<()>,
    requested_at: Mutex<Option<Instant>>,
    requested: Notify,
    /// The permits of calls that wait.
    wait_permits: Semaphore,
}

impl KeyRequests {
    /// Creates requests of which there is at most one in each `interval`.
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            interval,
            answered: watch::Sender::new(()),
            requested_at: Mutex::new(None),
            requested: Notify::new(),
            wait_permits: Semaphore::new(MAX_WAITING),
        }
    }

    /// Ends all waiting, for good: no more keys will come.
    pub(super) fn close(&self) {
        self.wait_permits.close();
    }

    /// Wakes the calls that wait, after the keys changed.
    pub(super) fn answer(&self) {
        self.answered.send_replace(());
    }

    /// Waits for a request: for the task that gets the keys.
    pub(super) async fn next(&self) {
        self.requested.notified().await;
    }

    /// Requests keys and waits until they change, but no longer than [`WAIT`]. Returns at once when the key `is_known`
    /// meanwhile; and when too many calls wait already, unless the set `is_empty`: then every call waits, because none can
    /// be served.
    pub(super) async fn wait(
        &self,
        deadline: Deadline,
        is_empty: impl Fn() -> bool,
        is_known: impl Fn() -> bool,
    ) {
        // Subscribed before the check, because another call may have received the key before the subscription.
        let mut answered = self.answered.subscribe();
        let permit = self.wait_permits.try_acquire();
        if (permit.is_ok() || is_empty()) && !is_known() {
            let until = (self.request() + WAIT).min(deadline.instant());
            // The keys at hand decide, with or without new ones.
            let _ = timeout_at(until, answered.changed()).await;
        }
    }

    /// Requests new keys, unless that happened less than the interval ago. Returns the time of the last request: while the
    /// issuer is down, calls with unknown keys wait for the same request, and later ones not at all.
    fn request(&self) -> Instant {
        let now = Instant::now();
        let mut requested_at = self.requested_at.lock().unwrap_or_else(PoisonError::into_inner);
        match *requested_at {
            Some(before) if now.duration_since(before) < self.interval => before,
            _ => {
                *requested_at = Some(now);
                self.requested.notify_one();
                now
            }
        }
    }

    /// Returns whether another call may wait.
    #[cfg(test)]
    pub(super) fn has_permits(&self) -> bool {
        self.wait_permits.available_permits() > 0
    }

    /// Returns the number of calls that wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.answered.receiver_count()
    }
}
