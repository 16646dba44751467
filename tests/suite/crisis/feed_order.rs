//! The order of the feed: it is total, nothing comes into it behind a watcher's back, and the erased leave it.

use haven_proto::data::v1::{EraseUserRequest, ResolveCrisisEventRequest};
use haven_testkit::{Stack, random};
use sqlx::{Connection, PgConnection, raw_sql};

use super::{Watcher, happen, insertion};
use crate::status::reason;

/// A transaction that has done this and is not over.
async fn begun(stack: &Stack, sql: &str) -> PgConnection {
    let mut connection = stack.database.connect("postgres").await.unwrap();
    let begun = sqlx::AssertSqlSafe(format!("BEGIN; {sql}"));
    raw_sql(begun).execute(&mut connection).await.unwrap();
    connection
}

async fn commit(mut connection: PgConnection) {
    raw_sql("COMMIT").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// With numbers that come from a sequence as events are stored, the first one's would be the smaller, and the watcher
/// would have gone past it when it becomes visible.
#[tokio::test]
async fn what_is_stored_first_and_committed_last_is_not_missed() {
    let stack = Stack::start().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let backend = stack.service("backend").unwrap();
    let mut watcher = Watcher::start(&backend, "").await.unwrap();
    let early = random::uuid().to_string();
    let insert = insertion(&ada, &early, "now() - interval '1 min'");
    let transaction = begun(&stack, &insert).await;
    let late = happen(&stack, &bob).await;
    let (first, cursor) = watcher.next().await.unwrap();
    assert_eq!(first.id, late);
    commit(transaction).await;
    assert_eq!(watcher.id().await, early);
    // Nor by who comes again, nor in another order by who comes anew.
    assert_eq!(Watcher::start(&backend, &cursor).await.unwrap().id().await, early);
    assert_eq!(
        Watcher::start(&backend, "").await.unwrap().ids(2).await,
        [late, early]
    );
}

#[tokio::test]
async fn many_who_store_and_many_who_watch_agree_on_one_order() {
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
    // Each comes again after every few events, so that the numbers are given while others read.
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
        assert_eq!(sorted, stored, "each once");
    }
}

#[tokio::test]
async fn events_of_somebody_who_was_erased_are_gone_and_the_others_come() {
    let stack = Stack::start().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let backend = stack.service("backend").unwrap();
    let mut watcher = Watcher::start(&backend, "").await.unwrap();
    for _ in 0..2 {
        happen(&stack, &ada).await;
    }
    let other = happen(&stack, &bob).await;
    let taken = watcher.take(3).await;
    assert_eq!(taken[2].0, other);
    let erase = EraseUserRequest {
        user_id: ada.id.to_string(),
        request_id: random::uuid().to_string(),
    };
    let mut person = stack.service("identity").unwrap().person();
    person.erase_user(erase).await.unwrap();
    // From the beginning, and from the cursor of an event that is no more.
    assert_eq!(Watcher::start(&backend, "").await.unwrap().id().await, other);
    assert_eq!(
        Watcher::start(&backend, &taken[0].1).await.unwrap().id().await,
        other.clone()
    );
    let next = happen(&stack, &bob).await;
    assert_eq!(watcher.id().await, next);
    let mut fresh = Watcher::start(&backend, &taken[1].1).await.unwrap();
    assert_eq!(fresh.ids(2).await, [other, next]);
    let gone = ResolveCrisisEventRequest {
        user_id: ada.id.to_string(),
        event_id: taken[0].0.clone(),
    };
    let status = backend.crisis().resolve_crisis_event(gone).await.unwrap_err();
    assert_eq!(reason(&status), "NOT_FOUND");
}

/// An event that goes while numbers are given must not take one with it, or the last one would be given out twice, and
/// from then on nothing could be numbered any more.
#[tokio::test]
async fn nobody_who_watches_waits_for_somebody_who_is_being_erased() {
    let stack = Stack::start().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let backend = stack.service("backend").unwrap();
    let first = happen(&stack, &bob).await;
    let hidden = happen(&stack, &ada).await;
    let last = happen(&stack, &bob).await;
    let erase = format!("DELETE FROM data.users WHERE id = '{}'", ada.id);
    let mut transaction = begun(&stack, &erase).await;
    let mut watcher = Watcher::start(&backend, "").await.unwrap();
    assert_eq!(watcher.ids(2).await, [first.clone(), last.clone()]);
    // It was not to be: what was passed over comes after all.
    raw_sql("ROLLBACK").execute(&mut transaction).await.unwrap();
    assert_eq!(watcher.id().await, hidden);

    happen(&stack, &ada).await;
    let third = happen(&stack, &bob).await;
    let transaction = begun(&stack, &erase).await;
    // From the beginning: how far the other watcher has come does not matter.
    let mut another = Watcher::start(&backend, "").await.unwrap();
    let seen = loop {
        let (event, _) = another.next().await.unwrap();
        if event.user_id == bob.id.to_string() && event.id != first && event.id != last {
            break event.id;
        }
    };
    assert_eq!(seen, third);
    commit(transaction).await;
    let fourth = happen(&stack, &bob).await;
    assert_eq!(another.id().await, fourth);
    let all = Watcher::start(&backend, "").await.unwrap().ids(4).await;
    assert_eq!(all, [first, last, third, fourth]);
}
