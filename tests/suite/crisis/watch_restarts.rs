//! Restarts during WatchCrisisEvents: a watcher that continues from its cursor sees each event once.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use haven_testkit::{Client, Person, Stack};
use rustix::process::Signal;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{LIMIT, Watcher, store_event};
use crate::{eventually::eventually, status::reason, superuser_sql::scalar};

/// The number of events that the watcher sees before each restart.
const BETWEEN: usize = 5;

/// Stores events until `stop`. Returns their ids.
async fn keep_storing(stack: &Stack, person: &Person, stop: &AtomicBool) -> Vec<String> {
    let mut stored = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        stored.push(store_event(stack, person).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stored
}

/// Takes `count` events after `cursor`, opening a new stream when one ends. Returns the statuses that the streams ended
/// with.
async fn follow(client: &Client, cursor: &mut String, seen: &mut Vec<String>, count: usize) -> Vec<Status> {
    let (limit, mut ends, until) = (Instant::now() + LIMIT * 2, Vec::new(), seen.len() + count);
    while seen.len() < until {
        assert!(Instant::now() < limit, "{} events, {ends:?}", seen.len());
        let ended = match Watcher::start(client, cursor).await {
            Ok(mut watcher) => loop {
                if seen.len() == until {
                    return ends;
                }
                match watcher.next().await {
                    Ok((event, at)) => {
                        seen.push(event.id);
                        *cursor = at;
                    }
                    Err(status) => break status,
                }
            },
            Err(status) => status,
        };
        ends.push(ended);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ends
}

/// Stores events while `restart` restarts the data service three times, and asserts that the watcher sees each event
/// once and in order. Returns the statuses that the streams ended with.
async fn through_restarts(mut restart: impl AsyncFnMut(&mut Stack)) -> Vec<Status> {
    let mut stack = Stack::start().await.unwrap();
    let person = stack.person().await.unwrap();
    let client = stack.service("backend").unwrap();
    let (mut cursor, mut seen, mut ends) = (String::new(), Vec::new(), Vec::new());
    for _ in 0..3 {
        let stop = AtomicBool::new(false);
        let (.., ended) = tokio::join!(keep_storing(&stack, &person, &stop), async {
            let ended = follow(&client, &mut cursor, &mut seen, BETWEEN).await;
            stop.store(true, Ordering::Relaxed);
            ended
        });
        ends.extend(ended);
        // This stream is open when the service stops; the next one is opened while it may be down.
        let mut open = Watcher::start(&client, &cursor).await.unwrap();
        for _ in 0..BETWEEN {
            store_event(&stack, &person).await;
        }
        let (event, at) = open.next().await.unwrap();
        seen.push(event.id);
        cursor = at;
        restart(&mut stack).await;
        loop {
            match open.next().await {
                Ok((event, at)) => {
                    seen.push(event.id);
                    cursor = at;
                }
                Err(status) => break ends.push(status),
            }
        }
        store_event(&stack, &person).await;
    }
    let all: i64 = scalar(&stack.database, "SELECT count(*) FROM data.crisis_events").await;
    let rest = usize::try_from(all).unwrap() - seen.len();
    ends.extend(follow(&client, &mut cursor, &mut seen, rest).await);
    let order = "SELECT array_agg(id::text ORDER BY number) FROM data.crisis_events";
    let expected: Vec<String> = scalar(&stack.database, order).await;
    assert_eq!(seen, expected);
    ends
}

#[tokio::test]
async fn a_rolling_restart_ends_streams_at_once_and_loses_no_event() {
    let ends = through_restarts(async |stack| {
        let began = Instant::now();
        stack.data.signal(Signal::TERM);
        let mut ended = None;
        eventually("the process ends", async || {
            ended = stack.data.ended();
            ended.is_some()
        })
        .await;
        assert_eq!(ended.unwrap().code(), Some(0));
        // The drain may take twenty seconds.
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        stack.data.start().await.unwrap();
    })
    .await;
    // Other streams could not connect.
    let reasons: Vec<_> = ends
        .iter()
        .filter_map(|end| Some(end.get_details_error_info()?.reason))
        .collect();
    assert_eq!(reasons, ["DRAINING"; 3]);
}

#[tokio::test]
async fn a_killed_service_loses_no_event() {
    let ends = through_restarts(async |stack| {
        stack.data.kill();
        stack.data.start().await.unwrap();
    })
    .await;
    assert!(ends.len() >= 3, "{ends:?}");
}

#[tokio::test]
async fn streams_end_with_a_retryable_reason_when_the_database_stops() {
    let mut stack = Stack::builder().own_cluster().start().await.unwrap();
    let person = stack.person().await.unwrap();
    let client = stack.service("backend").unwrap();
    let mut watcher = Watcher::start(&client, "").await.unwrap();
    let first = store_event(&stack, &person).await;
    let (event, cursor) = watcher.next().await.unwrap();
    assert_eq!(event.id, first);
    stack.cluster().unwrap().kill();
    let status = watcher.end().await;
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::Unavailable, "DEPENDENCY_UNAVAILABLE")
    );
    stack.cluster().unwrap().resume().await.unwrap();
    let second = store_event(&stack, &person).await;
    let (mut cursor, mut seen) = (cursor, Vec::new());
    follow(&client, &mut cursor, &mut seen, 1).await;
    assert_eq!(seen, [second]);
}
