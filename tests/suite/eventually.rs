//! Waiting for what happens soon, and not a moment longer than it takes.

use std::time::{Duration, Instant};

/// Longer than anything takes that is waited for, also on a machine that is busy with other tests.
const LIMIT: Duration = Duration::from_secs(30);

/// How often to look.
const POLL: Duration = Duration::from_millis(25);

/// Looks until it is so; panics when that takes too long, and says `what` did not happen.
pub(crate) async fn eventually(what: &str, look: impl AsyncFnMut() -> bool) {
    within(LIMIT, what, look).await;
}

/// The same, where it may take another time.
pub(crate) async fn within(time: Duration, what: &str, mut look: impl AsyncFnMut() -> bool) {
    let limit = Instant::now() + time;
    while !look().await {
        assert!(Instant::now() < limit, "not within {time:?}: {what}");
        tokio::time::sleep(POLL).await;
    }
}
