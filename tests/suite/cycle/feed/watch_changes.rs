//! WatchChanges: earlier changes, then new ones as they are made.

use std::time::{Duration, Instant};

use haven_testkit::{Stack, port::Port};

use super::{BEGINNING, Watcher, contents, create, delete, numbers, pull, store_many, update};
use crate::{replica::replica, test_device::Device};

#[tokio::test]
async fn a_watch_delivers_old_changes_and_then_new_ones_to_every_device() {
    let stack = Stack::start().await.unwrap();
    let phone = Device::invent(&stack).await.unwrap();
    let laptop = phone.another().await.unwrap();
    let a = create(&phone, "a").await;
    let mut first = Watcher::start(&laptop, BEGINNING).await.unwrap();
    let mut second = Watcher::start(&phone, BEGINNING).await.unwrap();
    for watcher in [&mut first, &mut second] {
        let (entries, _) = watcher.next().await.unwrap();
        assert_eq!(contents(&phone, &entries), [(a, 1, Some("a".to_owned()))]);
    }
    let mut took = Vec::new();
    for version in 1..=10 {
        let began = Instant::now();
        update(&phone, a, version, "a, again").await;
        let (entries, cursor) = first.next().await.unwrap();
        took.push(began.elapsed());
        let again = Some("a, again".to_owned());
        assert_eq!(contents(&phone, &entries), [(a, version + 1, again)]);
        assert!(pull(&laptop, &cursor).await.unwrap().0.is_empty());
    }
    // The watch is notified: a poll once a second would take longer.
    took.sort();
    assert!(took[5] < Duration::from_millis(700), "{took:?}");
    delete(&laptop, a, 11).await;
    let (entries, _) = first.next().await.unwrap();
    assert_eq!(contents(&phone, &entries), [(a, 12, None)]);
    // A client that did not read meanwhile gets the same, and may be spared intermediate versions.
    let mut last = 1;
    while last < 12 {
        let (entries, _) = second.next().await.unwrap();
        assert!(numbers(&entries).is_sorted() && numbers(&entries)[0] > last);
        last = entries.last().unwrap().change_number;
    }
}

#[tokio::test]
async fn a_watch_begins_with_a_cursor_when_nothing_has_changed() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let mut watcher = Watcher::start(&phone, BEGINNING).await.unwrap();
    let (entries, cursor) = watcher.next().await.unwrap();
    assert!(entries.is_empty());
    let record = create(&phone, "a").await;
    let expected = [(record, 1, Some("a".to_owned()))];
    assert_eq!(contents(&phone, &watcher.next().await.unwrap().0), expected);
    assert_eq!(
        contents(&phone, &pull(&phone, &cursor).await.unwrap().0),
        expected
    );
}

#[tokio::test]
async fn many_changes_come_in_several_answers_and_later_ones_after_them() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    store_many(stack, &phone, 250, 256).await;
    let mut watcher = Watcher::start(&phone, BEGINNING).await.unwrap();
    let (mut seen, cursor) = watcher.next().await.unwrap();
    // Of 8 KiB each: a mebibyte.
    assert_eq!(seen.len(), 128);
    // Stored by SQL, so the service gets no notification, as with a change at another replica.
    store_many(stack, &phone, 50, 1).await;
    while seen.len() < 300 {
        let (entries, _) = watcher.next().await.unwrap();
        assert!(!entries.is_empty(), "only the first answer may have no entries");
        seen.extend(entries);
    }
    assert!(numbers(&seen) == (1..=300).collect::<Vec<_>>());
    let mut later = Watcher::start(&phone, &cursor).await.unwrap();
    assert_eq!(numbers(&later.next().await.unwrap().0)[0], 129);
}

#[tokio::test]
async fn a_watch_delivers_changes_made_at_another_replica() {
    let mut stack = Stack::start().await.unwrap();
    let phone = Device::invent(&stack).await.unwrap();
    let laptop = phone.another().await.unwrap();
    let mut watcher = Watcher::start(&laptop, BEGINNING).await.unwrap();
    let (_, _) = watcher.next().await.unwrap();
    let ports = [(); 3].map(|()| Port::reserve().unwrap());
    let second = replica(&stack.data, &ports).await;
    // New connections go to the second replica.
    stack.data.listeners = second.listeners;
    let client = stack.user(&phone.person).unwrap();
    let elsewhere = Device { client, ..phone };
    let mut expected = 0;
    for _ in 0..3 {
        create(&elsewhere, "from elsewhere").await;
        let (entries, cursor) = watcher.next().await.unwrap();
        expected += 1;
        assert_eq!(numbers(&entries), [expected]);
        // A cursor of one replica is valid at the other.
        assert!(pull(&elsewhere, &cursor).await.unwrap().0.is_empty());
    }
}
