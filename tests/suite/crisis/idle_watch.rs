//! WatchCrisisEvents without news: an answer with the cursor alone every 20 seconds.

use std::time::Duration;

use haven_proto::data::v1::{WatchCrisisEventsRequest, WatchCrisisEventsResponse};
use haven_testkit::{Client, Stack};
use tokio::time::{Instant, timeout};
use tonic::Streaming;

use super::{Watcher, store_event};

/// Opens a watch without the fixture that passes over answers without an event.
async fn open(client: &Client, cursor: &str) -> Streaming<WatchCrisisEventsResponse> {
    let request = WatchCrisisEventsRequest {
        cursor: cursor.to_owned(),
    };
    let answer = client.crisis().watch_crisis_events(request).await;
    answer.unwrap().into_inner()
}

/// Returns the next answer, which has no event, and how long it took.
async fn idle_answer(watch: &mut Streaming<WatchCrisisEventsResponse>) -> (String, Duration) {
    let began = Instant::now();
    let next = timeout(Duration::from_secs(40), watch.message()).await;
    let answer = next.expect("no answer").unwrap().expect("the watch ended");
    assert_eq!(answer.event, None);
    (answer.cursor, began.elapsed())
}

#[tokio::test]
async fn an_idle_watch_repeats_the_cursor_of_the_last_event() {
    let stack = Stack::start().await.unwrap();
    let backend = stack.service("backend").unwrap();
    let ada = stack.person().await.unwrap();
    // A watch from the beginning of an empty feed, and one that has seen an event.
    let mut empty = open(&backend, "").await;
    let (cursor, waited) = idle_answer(&mut empty).await;
    assert_eq!(cursor, "", "before the first event, the start of the feed");
    assert!(waited >= Duration::from_secs(20), "{waited:?}");

    let first = store_event(&stack, &ada).await;
    let seen = empty.message().await.unwrap().unwrap();
    assert_eq!(seen.event.unwrap().id, first);
    let mut resumed = open(&backend, &seen.cursor).await;
    let (after_event, after_resume) = tokio::join!(idle_answer(&mut empty), idle_answer(&mut resumed));
    for (cursor, waited) in [after_event, after_resume] {
        assert_eq!(cursor, seen.cursor);
        assert!(waited >= Duration::from_secs(19), "{waited:?}");
    }

    // The cursor of an idle answer continues the feed: no event is missed, and none repeated.
    let second = store_event(&stack, &ada).await;
    let mut watcher = Watcher::start(&backend, &seen.cursor).await.unwrap();
    assert_eq!(watcher.id().await, second);
}
