//! An answer that is being sent: what is left of it, and since when it waits for its client.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::body::{Body, Bytes};
use tokio::time::Instant;

/// The time after which a dropped answer that is still not read closes its connection: its stream stays open in HTTP/2.
const STUCK: Duration = Duration::from_secs(10);

/// The time in which a client must take a whole message, however many parts it has.
const LONGEST_MESSAGE: Duration = Duration::from_secs(60);

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
    /// Whether the answer was dropped within a frame.
    pub(super) is_torn: bool,
    /// Since when the client could have taken the next part. `None` while there is no next part.
    pub(super) waits_since: Option<Instant>,
    /// Since when the message of this part could have been taken.
    message_since: Instant,
}

impl OpenAnswer {
    pub(super) fn new(body: Body, longest: Duration) -> Self {
        Self {
            unsent: Mutex::new(Unsent {
                body: Some(body),
                rest: Bytes::new(),
                is_torn: false,
                waits_since: Some(Instant::now()),
                message_since: Instant::now(),
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
        let is_late =
            waited > self.longest || now.saturating_duration_since(unsent.message_since) > LONGEST_MESSAGE;
        if is_late && unsent.body.is_some() {
            let body = unsent.body.take();
            unsent.is_torn = !unsent.rest.is_empty();
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

impl Unsent {
    /// Notes that the client took everything so far. The body has a next message now if `has_next`.
    pub(super) fn took(&mut self, has_next: bool) {
        let now = Instant::now();
        self.waits_since = has_next.then_some(now);
        self.message_since = now;
    }

    /// Returns the next part of a frame, of at most `most` bytes.
    ///
    /// The last byte of a frame is a part of its own. hyper gives a part to HTTP/2 as soon as the window has one byte, and
    /// the trailers right after the last part: a client that withholds a byte of its window would otherwise end the answer
    /// here, and make HTTP/2 keep the last part for ever.
    pub(super) fn next_part(&mut self, most: usize) -> Bytes {
        self.waits_since = Some(Instant::now());
        let rest = self.rest.len();
        let part = match rest {
            0 | 1 => rest,
            _ => most.min(rest - 1),
        };
        let is_whole = part + 1 >= rest;
        let part = self.rest.split_to(part);
        // A part shares the memory of its message, which must go when the answer is dropped.
        if is_whole {
            part
        } else {
            Bytes::copy_from_slice(&part)
        }
    }
}
