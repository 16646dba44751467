//! The service goes away in the middle of a stream, and who comes again with their cursor sees each event once.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use haven_testkit::{Client, Person, Stack};
use rustix::process::Signal;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{LIMIT, Watcher, happen};
use crate::{eventually::eventually, status::reason, superuser_sql::scalar};

/// How many events a test sees before the service goes, each time that it goes.
const BETWEEN: usize = 5;

/// Stores events until it is told to stop. Answers their ids.
async fn keep_happening(stack: &Stack, person: &Person, over: &AtomicBool) -> Vec<String> {
    let mut stored = Vec::new();
    while !over.load(Ordering::Relaxed) {
        stored.push(happen(stack, person).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stored
}

/// Takes `count` events after `cursor`, coming again whenever the stream ends. Answers how the streams ended.
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

/// Lets events happen to somebody, restarts data three times by `restart`, and sees each event once and in order. Answers
/// how the streams ended.
async fn through_restarts(mut restart: impl AsyncFnMut(&mut Stack)) -> Vec<Status> {
    let mut stack = Stack::start().await.unwrap();
    let person = stack.person().await.unwrap();
    let client = stack.service("backend").unwrap();
    let (mut cursor, mut seen, mut ends) = (String::new(), Vec::new(), Vec::new());
    for _ in 0..3 {
        let over = AtomicBool::new(false);
        let (.., ended) = tokio::join!(keep_happening(&stack, &person, &over), async {
            let ended = follow(&client, &mut cursor, &mut seen, BETWEEN).await;
            over.store(true, Ordering::Relaxed);
            ended
        });
        ends.extend(ended);
        // A stream that is open while the service goes, and one that comes again while it is away.
        let mut open = Watcher::start(&client, &cursor).await.unwrap();
        for _ in 0..BETWEEN {
            happen(&stack, &person).await;
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
        happen(&stack, &person).await;
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
async fn a_rolling_restart_ends_streams_at_once_and_loses_nothing() {
    let ends = through_restarts(async |stack| {
        let began = Instant::now();
        stack.data.signal(Signal::TERM);
        let mut ended = None;
        eventually("it ends", async || {
            ended = stack.data.ended();
            ended.is_some()
        })
        .await;
        assert_eq!(ended.unwrap().code(), Some(0));
        // Of twenty seconds that the drain may take.
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        stack.data.start().await.unwrap();
    })
    .await;
    // Beside those that found nobody there.
    let reasons: Vec<_> = ends
        .iter()
        .filter_map(|end| Some(end.get_details_error_info()?.reason))
        .collect();
    assert_eq!(reasons, ["DRAINING"; 3]);
}

#[tokio::test]
async fn a_service_that_is_killed_loses_nothing() {
    let ends = through_restarts(async |stack| {
        stack.data.kill();
        stack.data.start().await.unwrap();
    })
    .await;
    assert!(ends.len() >= 3, "{ends:?}");
}

#[tokio::test]
async fn a_database_that_goes_away_ends_streams_with_a_reason_to_come_again() {
    let mut stack = Stack::builder().own_cluster().start().await.unwrap();
    let person = stack.person().await.unwrap();
    let client = stack.service("backend").unwrap();
    let mut watcher = Watcher::start(&client, "").await.unwrap();
    let first = happen(&stack, &person).await;
    let (event, cursor) = watcher.next().await.unwrap();
    assert_eq!(event.id, first);
    stack.cluster().unwrap().kill();
    let status = watcher.end().await;
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::Unavailable, "DEPENDENCY_UNAVAILABLE")
    );
    stack.cluster().unwrap().resume().await.unwrap();
    let second = happen(&stack, &person).await;
    let (mut cursor, mut seen) = (cursor, Vec::new());
    follow(&client, &mut cursor, &mut seen, 1).await;
    assert_eq!(seen, [second]);
}
