//! The order of the feed: it is total, no event is inserted before one that a watcher has seen, and events of erased
//! people are left out.

use haven_proto::data::v1::{EraseUserRequest, ResolveCrisisEventRequest};
use haven_testkit::{Stack, random};
use sqlx::{Connection, PgConnection, raw_sql};

use super::{Watcher, insertion, store_event};
use crate::status::reason;

/// Begins a transaction and executes `sql` in it.
async fn begin(stack: &Stack, sql: &str) -> PgConnection {
    let mut connection = stack.database.connect("postgres").await.unwrap();
    let batch = sqlx::AssertSqlSafe(format!("BEGIN; {sql}"));
    raw_sql(batch).execute(&mut connection).await.unwrap();
    connection
}

async fn commit(mut connection: PgConnection) {
    raw_sql("COMMIT").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// If events took their numbers from a sequence when they are stored, the first one would have the smaller number, and
/// the watcher would be past it when it becomes visible.
#[tokio::test]
async fn an_event_stored_first_and_committed_last_is_not_missed() {
    let stack = Stack::start().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let backend = stack.service("backend").unwrap();
    let mut watcher = Watcher::start(&backend, "").await.unwrap();
    let early = random::uuid().to_string();
    let insert = insertion(&ada, &early, "now() - interval '1 min'");
    let transaction = begin(&stack, &insert).await;
    let late = store_event(&stack, &bob).await;
    let (first, cursor) = watcher.next().await.unwrap();
    assert_eq!(first.id, late);
    commit(transaction).await;
    assert_eq!(watcher.id().await, early);
    // A watcher that continues from its cursor sees it, and a new watcher sees the same order.
    assert_eq!(Watcher::start(&backend, &cursor).await.unwrap().id().await, early);
    assert_eq!(
        Watcher::start(&backend, "").await.unwrap().ids(2).await,
        [late, early]
    );
}

#[tokio::test]
async fn all_watchers_see_one_order_with_concurrent_writers() {
    const WRITERS: usize = 8;
    const EACH: usize = 25;
    let stack = Stack::start().await.unwrap();
    let person = stack.person().await.unwrap();
    let backend = stack.service("backend").unwrap();
    let write = async |_: usize| {
        let mut connection = stack.database.connect("postgres").await.unwrap();
        let mut stored = Vec::new();
        for _ in 0..EACH {
            let id = random::uuid().to_string();
            let insert = sqlx::AssertSqlSafe(insertion(&person, &id, "clock_timestamp()"));
            raw_sql(insert).execute(&mut connection).await.unwrap();
            stored.push(id);
        }
        stored
    };
    // Each watcher starts again after every few events, so that events are numbered while others read.
    let watch = async |each: usize| {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        while seen.len() < WRITERS * EACH {
            let mut watcher = Watcher::start(&backend, &cursor).await.unwrap();
            for (id, at) in watcher.take(each.min(WRITERS * EACH - seen.len())).await {
                seen.push(id);
                cursor = at;
            }
        }
        seen
    };
    let (stored, seen) = tokio::join!(
        futures_util::future::join_all((0..WRITERS).map(write)),
        futures_util::future::join_all([3, 7, 50, WRITERS * EACH].map(watch)),
    );
    let mut stored: Vec<_> = stored.into_iter().flatten().collect();
    stored.sort_unstable();
    for one in &seen {
        assert_eq!(one, &seen[0]);
        let mut sorted = one.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, stored, "each event once");
    }
}

#[tokio::test]
async fn events_of_an_erased_person_are_left_out_and_the_others_follow() {
    let stack = Stack::start().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let backend = stack.service("backend").unwrap();
    let mut watcher = Watcher::start(&backend, "").await.unwrap();
    for _ in 0..2 {
        store_event(&stack, &ada).await;
    }
    let other = store_event(&stack, &bob).await;
    let taken = watcher.take(3).await;
    assert_eq!(taken[2].0, other);
    let erase = EraseUserRequest {
        user_id: ada.id.to_string(),
        request_id: random::uuid().to_string(),
    };
    let mut person = stack.service("identity").unwrap().person();
    person.erase_user(erase).await.unwrap();
    // Watches start from the beginning, and from the cursor of an erased event.
    assert_eq!(Watcher::start(&backend, "").await.unwrap().id().await, other);
    assert_eq!(
        Watcher::start(&backend, &taken[0].1).await.unwrap().id().await,
        other.clone()
    );
    let next = store_event(&stack, &bob).await;
    assert_eq!(watcher.id().await, next);
    let mut continued = Watcher::start(&backend, &taken[1].1).await.unwrap();
    assert_eq!(continued.ids(2).await, [other, next]);
    let erased = ResolveCrisisEventRequest {
        user_id: ada.id.to_string(),
        event_id: taken[0].0.clone(),
    };
    let status = backend.crisis().resolve_crisis_event(erased).await.unwrap_err();
    assert_eq!(reason(&status), "NOT_FOUND");
}

/// An event that is deleted while events are numbered must not take a number: the last number would be given out twice,
/// and no event could be numbered from then on.
#[tokio::test]
async fn watchers_do_not_wait_for_an_erasure() {
    let stack = Stack::start().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let backend = stack.service("backend").unwrap();
    let first = store_event(&stack, &bob).await;
    let hidden = store_event(&stack, &ada).await;
    let last = store_event(&stack, &bob).await;
    let erase = format!("DELETE FROM data.users WHERE id = '{}'", ada.id);
    let mut transaction = begin(&stack, &erase).await;
    let mut watcher = Watcher::start(&backend, "").await.unwrap();
    assert_eq!(watcher.ids(2).await, [first.clone(), last.clone()]);
    // The erasure is rolled back: the event that was passed over follows.
    raw_sql("ROLLBACK").execute(&mut transaction).await.unwrap();
    assert_eq!(watcher.id().await, hidden);

    store_event(&stack, &ada).await;
    let third = store_event(&stack, &bob).await;
    let transaction = begin(&stack, &erase).await;
    // This watcher starts from the beginning, independent of the other one.
    let mut another = Watcher::start(&backend, "").await.unwrap();
    let seen = loop {
        let (event, _) = another.next().await.unwrap();
        if event.user_id == bob.id.to_string() && event.id != first && event.id != last {
            break event.id;
        }
    };
    assert_eq!(seen, third);
    commit(transaction).await;
    let fourth = store_event(&stack, &bob).await;
    assert_eq!(another.id().await, fourth);
    let all = Watcher::start(&backend, "").await.unwrap().ids(4).await;
    assert_eq!(all, [first, last, third, fourth]);
}
