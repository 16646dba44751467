//! Watching: everybody's events, from a cursor on, as they happen.

use std::time::{Duration, Instant};

use haven_proto::data::v1::{AcknowledgeCrisisEventRequest, WatchCrisisEventsRequest};
use haven_testkit::{Person, Stack};
use tonic::Request;

use super::{Watcher, happen};
use crate::{
    eventually::eventually,
    metrics::Metrics,
    status::{reason, violations},
    superuser_sql::{execute, scalar},
};

/// Stores so many events of `person`, a second apart.
fn many(person: &Person, count: usize) -> String {
    format!(
        "INSERT INTO data.crisis_events
             (user_id, id, trigger_type, severity_level, resources_shown, followup_required, created_at)
         SELECT '{}', gen_random_uuid(), 'suicide', 'low', '{{}}', false, now() + i * interval '1 s'
         FROM generate_series(1, {count}) AS i",
        person.id
    )
}

#[tokio::test]
async fn old_events_come_first_and_new_ones_as_they_happen_to_everybody_who_watches() {
    let stack = Stack::start().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let mut expected = vec![
        happen(&stack, &ada).await,
        happen(&stack, &bob).await,
        happen(&stack, &ada).await,
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
        expected.push(happen(&stack, person).await);
        let (event, _) = first.next().await.unwrap();
        took.push(began.elapsed());
        assert_eq!(event.user_id, person.id.to_string());
        seen.push(event.id);
    }
    assert_eq!(seen, expected);
    assert_eq!(second.ids(3).await, expected[3..]);
    // Nobody told this server: the insertion came from elsewhere, as from another replica.
    let soon = Duration::from_millis(1_500);
    assert!(took.iter().min() < Some(&soon), "{took:?}");
}

#[tokio::test]
async fn each_cursor_leads_to_what_came_after_it() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    // More than are read at once, and more than are numbered at once.
    execute(&stack.database, &many(&ada, 1100)).await;
    let backend = stack.service("backend").unwrap();
    let all = Watcher::start(&backend, "").await.unwrap().take(1100).await;
    let times = "SELECT array_agg(id::text ORDER BY created_at) FROM data.crisis_events";
    let expected: Vec<String> = scalar(&stack.database, times).await;
    let ids: Vec<_> = all.iter().map(|(id, _)| id.clone()).collect();
    assert_eq!(ids, expected);
    for place in [0, 1, 98, 99, 100, 101, 498, 499, 500, 1098] {
        let mut watcher = Watcher::start(&backend, &all[place].1).await.unwrap();
        let rest = (all.len() - place - 1).min(150);
        assert_eq!(watcher.take(rest).await, all[place + 1..][..rest], "{place}");
    }
    let mut last = Watcher::start(&backend, &all[1099].1).await.unwrap();
    let next = happen(&stack, &ada).await;
    assert_eq!(last.id().await, next);
}

#[tokio::test]
async fn a_cursor_is_its_services_and_cannot_be_made_up() {
    let stack = Stack::builder()
        .variable("data", "ALLOWED_SERVICES", "identity,backend")
        .start()
        .await
        .unwrap();
    let ada = stack.person().await.unwrap();
    happen(&stack, &ada).await;
    let backend = stack.service("backend").unwrap();
    let (_, cursor) = Watcher::start(&backend, "").await.unwrap().next().await.unwrap();
    // As a page token is. Another service has its own from the beginning on.
    let other = stack.service("identity").unwrap();
    assert!(Watcher::start(&other, "").await.is_ok());
    let page_token = format!("{cursor}A");
    for (client, cursor) in [
        (&other, cursor.as_str()),
        (&backend, "x"),
        (&backend, &cursor[1..]),
        (&backend, &page_token),
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
async fn a_cursor_that_this_database_never_gave_out_has_expired() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    for _ in 0..3 {
        happen(&stack, &ada).await;
    }
    let backend = stack.service("backend").unwrap();
    let mut watcher = Watcher::start(&backend, "").await.unwrap();
    let taken = watcher.take(3).await;
    // What a restore of an older backup does.
    execute(
        &stack.database,
        "DELETE FROM data.crisis_events WHERE number = 3; UPDATE data.crisis_feed SET last_number = 2",
    )
    .await;
    let status = Watcher::start(&backend, &taken[2].1).await.map(drop).unwrap_err();
    assert_eq!(reason(&status), "CURSOR_EXPIRED");
    assert_eq!(reason(&watcher.end().await), "CURSOR_EXPIRED");
    let mut watcher = Watcher::start(&backend, &taken[1].1).await.unwrap();
    let next = happen(&stack, &ada).await;
    assert_eq!(watcher.id().await, next);
}

/// The number of a lost event is given out again. Whoever went on from it would miss the event that has it now, and those
/// before.
#[tokio::test]
async fn a_cursor_whose_number_was_lost_and_given_to_another_event_has_expired() {
    let stack = Stack::start().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    for _ in 0..4 {
        happen(&stack, &ada).await;
    }
    let backend = stack.service("backend").unwrap();
    let taken = Watcher::start(&backend, "").await.unwrap().take(4).await;
    // What a restore of an older backup does.
    execute(
        &stack.database,
        "DELETE FROM data.crisis_events WHERE number > 2; UPDATE data.crisis_feed SET last_number = 2",
    )
    .await;
    // The first who comes again is the one who has the numbers given out, as far as their own and not further.
    let mut new = vec![happen(&stack, &bob).await, happen(&stack, &bob).await];
    for past in 0..2 {
        for (_, cursor) in &taken[2..] {
            let status = Watcher::start(&backend, cursor).await.map(drop);
            let status =
                status.expect_err("it begins, and says nothing of what took the place of what was lost");
            assert_eq!(reason(&status), "CURSOR_EXPIRED", "{past} past the last");
        }
        for (place, (_, cursor)) in taken[..2].iter().enumerate() {
            let mut watcher = Watcher::start(&backend, cursor).await.unwrap();
            let mut expected = vec![taken[1].0.clone(); 1 - place];
            expected.extend(new.clone());
            assert_eq!(watcher.ids(expected.len()).await, expected, "{place}");
        }
        new.push(happen(&stack, &bob).await);
    }
}

#[tokio::test]
async fn an_event_is_shown_as_it_is_then() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let id = happen(&stack, &ada).await;
    let backend = stack.service("backend").unwrap();
    let (event, _) = Watcher::start(&backend, "").await.unwrap().next().await.unwrap();
    assert_eq!(event.acknowledge_time, None);
    let request = AcknowledgeCrisisEventRequest { event_id: id };
    let mut crisis = stack.user(&ada).unwrap().crisis();
    let acknowledged = crisis.acknowledge_crisis_event(request).await.unwrap();
    // It is not sent again for that; who comes anew sees it.
    let (event, _) = Watcher::start(&backend, "").await.unwrap().next().await.unwrap();
    assert_eq!(Some(event), acknowledged.into_inner().event);
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing_behind() {
    let stack = Stack::start().await.unwrap();
    let backend = stack.service("backend").unwrap();
    let in_flight = async || {
        let metrics = Metrics::read(stack.data.listeners.metrics).await;
        metrics.sum("haven_rpc_in_flight", &[]).unwrap()
    };
    let looks = async || {
        let metrics = Metrics::read(stack.data.listeners.metrics).await;
        let looks = [("transaction", "WatchCrisisEvents")];
        metrics
            .sum("haven_db_transaction_seconds_count", &looks)
            .unwrap_or_default()
    };
    let mut watchers = Vec::new();
    for _ in 0..20 {
        watchers.push(Watcher::start(&backend, "").await.unwrap());
    }
    eventually("they look", async || looks().await >= 60.0).await;
    assert!(in_flight().await >= 20.0);
    drop(watchers);
    eventually("they are gone", async || in_flight().await < 1.0).await;
    // What looks once a second would be seen within two.
    let before = looks().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(looks().await, before);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_not_read_for() {
    const EVENTS: usize = 20_000;
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    execute(&stack.database, &many(&ada, EVENTS)).await;
    let backend = stack.service("backend").unwrap();
    let looks = async || {
        let metrics = Metrics::read(stack.data.listeners.metrics).await;
        let looks = [("transaction", "WatchCrisisEvents")];
        metrics
            .sum("haven_db_transaction_seconds_count", &looks)
            .unwrap_or_default()
    };
    let mut watcher = Watcher::start(&backend, "").await.unwrap();
    let (first, _) = watcher.next().await.unwrap();
    // What is under way to the client is bounded by HTTP/2, and nothing is kept behind that.
    let mut seen = -1.0;
    eventually("it has stopped to look", async || {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let now = looks().await;
        std::mem::replace(&mut seen, now) == now
    })
    .await;
    assert!(seen < (EVENTS / 100) as f64 * 0.75, "{seen}");
    // It goes on where it stopped.
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
        .expect("it ends");
    assert_eq!(reason(&end.unwrap_err()), "DEADLINE");
}
