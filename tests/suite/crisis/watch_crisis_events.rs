//! WatchCrisisEvents: all people's events after a cursor, as they are stored.

use std::time::{Duration, Instant};

use haven_proto::data::v1::{AcknowledgeCrisisEventRequest, WatchCrisisEventsRequest};
use haven_testkit::{Person, Stack};
use tonic::Request;

use super::{Watcher, store_event};
use crate::{
    eventually::eventually,
    metrics::Metrics,
    status::{reason, violations},
    superuser_sql::{execute, scalar},
};

/// Returns the SQL that inserts `count` events of `person`, a second apart.
fn insert_many(person: &Person, count: usize) -> String {
    format!(
        "INSERT INTO data.crisis_events
             (user_id, id, trigger_type, severity_level, resources_shown, followup_required, created_at)
         SELECT '{}', gen_random_uuid(), 'suicide', 'low', '{{}}', false, now() + i * interval '1 s'
         FROM generate_series(1, {count}) AS i",
        person.id
    )
}

#[tokio::test]
async fn every_watcher_gets_old_events_first_and_new_ones_as_they_are_stored() {
    let stack = Stack::start().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let mut expected = vec![
        store_event(&stack, &ada).await,
        store_event(&stack, &bob).await,
        store_event(&stack, &ada).await,
    ];
    let backend = stack.service("backend").unwrap();
    let mut first = Watcher::start(&backend, "").await.unwrap();
    let mut second = Watcher::start(&backend, "").await.unwrap();
    let mut seen = first.ids(3).await;
    assert_eq!(seen, expected);
    assert_eq!(second.ids(3).await, expected);

    let mut took = Vec::new();
    for person in [&ada, &bob, &bob] {
        let began = Instant::now();
        expected.push(store_event(&stack, person).await);
        let (event, _) = first.next().await.unwrap();
        took.push(began.elapsed());
        assert_eq!(event.user_id, person.id.to_string());
        seen.push(event.id);
    }
    assert_eq!(seen, expected);
    assert_eq!(second.ids(3).await, expected[3..]);
    // The events arrived without a notification, as those that another replica stores.
    let soon = Duration::from_millis(1_500);
    assert!(took.iter().min() < Some(&soon), "{took:?}");
}

#[tokio::test]
async fn each_cursor_continues_after_its_event() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    // More than one batch of reading, and of numbering.
    execute(&stack.database, &insert_many(&ada, 1100)).await;
    let backend = stack.service("backend").unwrap();
    let all = Watcher::start(&backend, "").await.unwrap().take(1100).await;
    let times = "SELECT array_agg(id::text ORDER BY created_at) FROM data.crisis_events";
    let expected: Vec<String> = scalar(&stack.database, times).await;
    let ids: Vec<_> = all.iter().map(|(id, _)| id.clone()).collect();
    assert_eq!(ids, expected);
    for position in [0, 1, 98, 99, 100, 101, 498, 499, 500, 1098] {
        let mut watcher = Watcher::start(&backend, &all[position].1).await.unwrap();
        let rest = (all.len() - position - 1).min(150);
        assert_eq!(
            watcher.take(rest).await,
            all[position + 1..][..rest],
            "{position}"
        );
    }
    let mut last = Watcher::start(&backend, &all[1099].1).await.unwrap();
    let next = store_event(&stack, &ada).await;
    assert_eq!(last.id().await, next);
}

#[tokio::test]
async fn a_cursor_is_bound_to_its_service_and_cannot_be_forged() {
    let stack = Stack::builder()
        .admit("data", "another=crisis")
        .start()
        .await
        .unwrap();
    let ada = stack.person().await.unwrap();
    store_event(&stack, &ada).await;
    let backend = stack.service("backend").unwrap();
    let (_, cursor) = Watcher::start(&backend, "").await.unwrap().next().await.unwrap();
    // Another service may watch from the beginning, with cursors of its own.
    let other = stack.service("another").unwrap();
    assert!(Watcher::start(&other, "").await.is_ok());
    let longer = format!("{cursor}A");
    for (client, cursor) in [
        (&other, cursor.as_str()),
        (&backend, "x"),
        (&backend, &cursor[1..]),
        (&backend, &longer),
    ] {
        let status = Watcher::start(client, cursor).await.map(drop).unwrap_err();
        assert_eq!(reason(&status), "INVALID_FIELD");
        assert_eq!(
            violations(&status),
            [("cursor".to_owned(), "NOT_A_CURSOR".to_owned())]
        );
    }
    let status = Watcher::start(&stack.user(&ada).unwrap(), "")
        .await
        .map(drop)
        .unwrap_err();
    assert_eq!(reason(&status), "ACCESS_DENIED");
}

#[tokio::test]
async fn a_cursor_from_after_the_restored_backup_has_expired() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    for _ in 0..3 {
        store_event(&stack, &ada).await;
    }
    let backend = stack.service("backend").unwrap();
    let mut watcher = Watcher::start(&backend, "").await.unwrap();
    let taken = watcher.take(3).await;
    // The rows are now those of an older backup.
    execute(
        &stack.database,
        "DELETE FROM data.crisis_events WHERE number = 3; UPDATE data.crisis_feed SET last_number = 2",
    )
    .await;
    let status = Watcher::start(&backend, &taken[2].1).await.map(drop).unwrap_err();
    assert_eq!(reason(&status), "CURSOR_EXPIRED");
    assert_eq!(reason(&watcher.end().await), "CURSOR_EXPIRED");
    let mut watcher = Watcher::start(&backend, &taken[1].1).await.unwrap();
    let next = store_event(&stack, &ada).await;
    assert_eq!(watcher.id().await, next);
}

/// After a restore, the number of a lost event is given to another event. A watcher that continued from the lost one
/// would miss the new event, and those before it.
#[tokio::test]
async fn a_cursor_of_a_lost_event_has_expired_although_its_number_is_used_again() {
    let stack = Stack::start().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    for _ in 0..4 {
        store_event(&stack, &ada).await;
    }
    let backend = stack.service("backend").unwrap();
    let taken = Watcher::start(&backend, "").await.unwrap().take(4).await;
    // The rows are now those of an older backup.
    execute(
        &stack.database,
        "DELETE FROM data.crisis_events WHERE number > 2; UPDATE data.crisis_feed SET last_number = 2",
    )
    .await;
    // The first watcher that comes back causes the new events to be numbered.
    let mut new = vec![store_event(&stack, &bob).await, store_event(&stack, &bob).await];
    for past in 0..2 {
        for (_, cursor) in &taken[2..] {
            let status = Watcher::start(&backend, cursor).await.map(drop);
            let status =
                status.expect_err("the stream begins, and would miss the events that replaced the lost ones");
            assert_eq!(reason(&status), "CURSOR_EXPIRED", "{past} past the last");
        }
        for (position, (_, cursor)) in taken[..2].iter().enumerate() {
            let mut watcher = Watcher::start(&backend, cursor).await.unwrap();
            let mut expected = vec![taken[1].0.clone(); 1 - position];
            expected.extend(new.clone());
            assert_eq!(watcher.ids(expected.len()).await, expected, "{position}");
        }
        new.push(store_event(&stack, &bob).await);
    }
}

#[tokio::test]
async fn an_event_is_sent_in_its_current_state() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let id = store_event(&stack, &ada).await;
    let backend = stack.service("backend").unwrap();
    let (event, _) = Watcher::start(&backend, "").await.unwrap().next().await.unwrap();
    assert_eq!(event.acknowledge_time, None);
    let request = AcknowledgeCrisisEventRequest { event_id: id };
    let mut crisis = stack.user(&ada).unwrap().crisis();
    let acknowledged = crisis.acknowledge_crisis_event(request).await.unwrap();
    // An acknowledgement sends no event; a new watcher sees it.
    let (event, _) = Watcher::start(&backend, "").await.unwrap().next().await.unwrap();
    assert_eq!(Some(event), acknowledged.into_inner().event);
}

#[tokio::test]
async fn a_disconnected_client_leaves_no_stream_behind() {
    let stack = Stack::start().await.unwrap();
    let backend = stack.service("backend").unwrap();
    let in_flight = async || {
        let metrics = Metrics::read(stack.data.listeners.metrics).await;
        metrics.sum("haven_rpc_in_flight", &[]).unwrap()
    };
    let polls = async || {
        let metrics = Metrics::read(stack.data.listeners.metrics).await;
        let labels = [("transaction", "WatchCrisisEvents")];
        metrics
            .sum("haven_db_transaction_seconds_count", &labels)
            .unwrap_or_default()
    };
    let mut watchers = Vec::new();
    for _ in 0..20 {
        watchers.push(Watcher::start(&backend, "").await.unwrap());
    }
    eventually("all watchers poll", async || polls().await >= 60.0).await;
    assert!(in_flight().await >= 20.0);
    drop(watchers);
    eventually("the streams have ended", async || in_flight().await < 1.0).await;
    // A stream that polls once a second would be seen within two.
    let before = polls().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(polls().await, before);
}

#[tokio::test]
async fn the_service_does_not_read_ahead_for_a_client_that_does_not_read() {
    const EVENTS: usize = 20_000;
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    execute(&stack.database, &insert_many(&ada, EVENTS)).await;
    let backend = stack.service("backend").unwrap();
    let polls = async || {
        let metrics = Metrics::read(stack.data.listeners.metrics).await;
        let labels = [("transaction", "WatchCrisisEvents")];
        metrics
            .sum("haven_db_transaction_seconds_count", &labels)
            .unwrap_or_default()
    };
    let mut watcher = Watcher::start(&backend, "").await.unwrap();
    let (first, _) = watcher.next().await.unwrap();
    // HTTP/2 flow control bounds the bytes on the way to the client, and the service buffers none beyond it.
    let mut seen = -1.0;
    eventually("the service has stopped polling", async || {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let now = polls().await;
        std::mem::replace(&mut seen, now) == now
    })
    .await;
    assert!(seen < (EVENTS / 100) as f64 * 0.75, "{seen}");
    // The stream continues where it stopped.
    let mut ids = vec![first.id];
    ids.extend(watcher.ids(EVENTS - 1).await);
    let order = "SELECT array_agg(id::text ORDER BY created_at) FROM data.crisis_events";
    let expected: Vec<String> = scalar(&stack.database, order).await;
    assert!(ids == expected);
}

#[tokio::test]
async fn a_stream_ends_with_its_clients_deadline() {
    let stack = Stack::start().await.unwrap();
    let mut crisis = stack.service("backend").unwrap().crisis();
    let mut request = Request::new(WatchCrisisEventsRequest::default());
    request
        .metadata_mut()
        .insert("grpc-timeout", "700m".parse().unwrap());
    let mut stream = crisis.watch_crisis_events(request).await.unwrap().into_inner();
    let end = tokio::time::timeout(super::LIMIT, stream.message())
        .await
        .expect("the stream ends");
    assert_eq!(reason(&end.unwrap_err()), "DEADLINE");
}
