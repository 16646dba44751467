//! Watchers are notified of findings in messages to the same process, and do not wait for the next poll.

use std::time::{Duration, Instant};

use haven_testkit::Stack;
use tokio::time::timeout;

use super::{LIMIT, Watcher};
use crate::crisis_message::{ALARMING, say_until_heard};

/// The number of events.
const ROUNDS: usize = 7;

/// The time within which a notified watcher has the event. A watcher polls when it has sent an event and then once a
/// second, and the next message follows at once: without a notification it would find the event after most of that
/// second, in each round.
const SOON: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_watcher_is_woken_by_a_finding_in_a_message() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    let backend = stack.service("backend").unwrap();
    let mut watcher = Watcher::start(&backend, "").await.unwrap();
    let mut waits = Vec::new();
    for _ in 0..ROUNDS {
        let write = async {
            let (.., finding) = say_until_heard(&ada, ALARMING).await;
            (finding, Instant::now())
        };
        let watch = async {
            let (event, _) = watcher.next().await.unwrap();
            (event, Instant::now())
        };
        let round = timeout(LIMIT, async { tokio::join!(write, watch) });
        let ((finding, answered), (event, seen)) = round.await.expect("the finding is detected and seen");
        assert_eq!(event.id, finding.event_id);
        waits.push(seen.saturating_duration_since(answered));
    }
    // The median: a single round may be late on a busy machine, or early by chance.
    waits.sort_unstable();
    assert!(waits[ROUNDS / 2] < SOON, "{waits:?}");
}
