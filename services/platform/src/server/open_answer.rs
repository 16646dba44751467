//! An answer that is being sent: what is left of it, and since when it waits for its client.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::body::{Body, Bytes};
use tokio::time::Instant;

/// The time after which a dropped answer that is still not read closes its connection: its stream stays open in HTTP/2.
const STUCK: Duration = Duration::from_secs(10);

/// The part of an answer that is not sent yet.
pub(super) struct OpenAnswer {
    unsent: Mutex<Unsent>,
    longest: Duration,
}

pub(super) struct Unsent {
    /// `None` when the answer was dropped unread.
    pub(super) body: Option<Body>,
    /// The part of a frame that was not given to HTTP/2 yet.
    pub(super) rest: Bytes,
    /// Since when the client could have taken the next part. `None` while there is no next part.
    pub(super) waits_since: Option<Instant>,
}

impl OpenAnswer {
    pub(super) fn new(body: Body, longest: Duration) -> Self {
        Self {
            unsent: Mutex::new(Unsent {
                body: Some(body),
                rest: Bytes::new(),
                waits_since: Some(Instant::now()),
            }),
            longest,
        }
    }

    /// Drops the answer when it waits too long. Returns whether it was dropped long ago, and still nothing was read.
    pub(super) fn sweep(&self, now: Instant) -> bool {
        // A body that is being polled is not unread.
        let Ok(mut unsent) = self.unsent.try_lock() else {
            return false;
        };
        let Some(since) = unsent.waits_since else {
            return false;
        };
        let waited = now.saturating_duration_since(since);
        if waited > self.longest && unsent.body.is_some() {
            let body = unsent.body.take();
            unsent.rest = Bytes::new();
            drop(unsent);
            // Outside the lock: the places and the log line of the call go with the body.
            drop(body);
            metrics::counter!("haven_answers_unread_total").increment(1);
            return false;
        }
        waited > self.longest + STUCK
    }

    pub(super) fn unsent(&self) -> MutexGuard<'_, Unsent> {
        self.unsent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
