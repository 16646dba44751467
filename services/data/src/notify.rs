//! Notifications of new rows: wake calls that wait for them, in this process, and in other replicas where they listen.

use std::{sync::Arc, time::Duration};

use haven_platform::{call::UserId, database::Announcer};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

/// The polling interval of a waiting call without a notification: rows that another replica stored come without one.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Wakes all waiting calls of this process when there are new rows, and tells other replicas where it has an announcer.
///
/// Postgres' LISTEN, over which the others hear of it, does not work behind a pooler in transaction mode, so it needs an address
/// of its own. Without one, waiting calls poll once a second for rows of other replicas.
#[derive(Clone, Debug, Default)]
pub struct Notify {
    waiting: watch::Sender<()>,
    announcer: Option<Announcer>,
}

/// The subscription of a waiting call. It does not miss a notification that was sent after its creation or after the
/// last [`Waiting::next`].
#[derive(Debug)]
pub struct Waiting(watch::Receiver<()>);

impl Notify {
    /// Returns the same notification, which tells other replicas with `announcer`.
    #[must_use]
    pub fn announced_by(self, announcer: Announcer) -> Self {
        Self {
            announcer: Some(announcer),
            ..self
        }
    }

    /// Notifies waiting calls of new rows, which this process has committed.
    pub fn notify(&self) {
        self.wake();
        if let Some(announcer) = &self.announcer {
            announcer.announce();
        }
    }

    /// Notifies waiting calls of this process of new rows, which another replica has committed.
    pub fn wake(&self) {
        self.waiting.send_replace(());
    }

    /// Subscribes to notifications. To be called before the first query, so that no notification is missed between the
    /// two.
    #[must_use]
    pub fn wait(&self) -> Waiting {
        Waiting(self.waiting.subscribe())
    }
}

impl Waiting {
    /// Returns when it is time to query again: after a notification, after a second, or at `until`.
    pub async fn next(&mut self, until: Instant) {
        let next_poll = Instant::now() + POLL_INTERVAL;
        // An error means that the sender was dropped, which happens only at shutdown; then the call polls once a
        // second.
        if let Ok(Err(_)) = timeout_at(next_poll.min(until), self.0.changed()).await {
            tokio::time::sleep_until(next_poll.min(until)).await;
        }
    }
}

/// Notifications for the calls of one person. People share a fixed number of them, so that no state is kept per person;
/// a call may be woken for another person, and then finds no new rows.
#[derive(Clone, Debug)]
pub struct PersonNotify(Arc<[Notify]>);

/// The number of notifications that people share.
const SHARDS: usize = 256;

impl Default for PersonNotify {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Notify::default()).collect())
    }
}

impl PersonNotify {
    /// Returns the notification that `person` shares.
    #[must_use]
    pub fn of(&self, person: UserId) -> &Notify {
        // The last byte of a UUID is random in every version that is used for people.
        let [.., last] = person.as_uuid().as_bytes();
        &self.0[usize::from(*last) % SHARDS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_notification_between_query_and_wait_is_not_missed() {
        let notify = Notify::default();
        let mut waiting = notify.wait();
        let began = Instant::now();
        let later = began + Duration::from_secs(60);
        notify.notify();
        waiting.next(later).await;
        assert!(began.elapsed() < POLL_INTERVAL / 2, "{:?}", began.elapsed());
        waiting.next(later).await;
        assert!(began.elapsed() >= POLL_INTERVAL, "{:?}", began.elapsed());
        waiting.next(Instant::now() + Duration::from_millis(10)).await;
        assert!(began.elapsed() < POLL_INTERVAL * 2, "{:?}", began.elapsed());
    }
}
