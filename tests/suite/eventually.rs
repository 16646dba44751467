//! Polling until a condition holds.

use std::time::{Duration, Instant};

/// Timeout of [`eventually`]: longer than any condition takes, also on a machine that is busy with other tests.
const LIMIT: Duration = Duration::from_secs(30);

/// Pause between two polls.
const POLL: Duration = Duration::from_millis(25);

/// Polls `look` until it returns true. Panics with `what` after 30 seconds.
pub(crate) async fn eventually(what: &str, look: impl AsyncFnMut() -> bool) {
    within(LIMIT, what, look).await;
}

/// Polls `look` until it returns true. Panics with `what` after `time`.
pub(crate) async fn within(time: Duration, what: &str, mut look: impl AsyncFnMut() -> bool) {
    let limit = Instant::now() + time;
    while !look().await {
        assert!(Instant::now() < limit, "not within {time:?}: {what}");
        tokio::time::sleep(POLL).await;
    }
}
