//! Watches without news, longer than the idle timeout of each proxy.

use std::time::Duration;

use haven_proto::data::v1::{WatchChangesRequest, WatchChangesResponse};
use haven_testkit::Stack;
use tokio::time::{Instant, timeout};
use tonic::Streaming;

use super::{client, start};
use crate::test_device::Device;

/// The time without news: longer than the 65 seconds after which the proxies end a stream on which nothing is sent.
const QUIET: Duration = Duration::from_secs(72);

/// Reads answers without entries for [`QUIET`]. Returns when each came, and the last cursor.
async fn idle_answers(watch: &mut Streaming<WatchChangesResponse>) -> (Vec<Duration>, String) {
    let began = Instant::now();
    let (mut times, mut cursor) = (Vec::new(), String::new());
    while let Ok(next) = timeout(QUIET.saturating_sub(began.elapsed()), watch.message()).await {
        let answer = next.unwrap().expect("the watch ended");
        assert!(answer.entries.is_empty());
        assert!(!answer.cursor.is_empty());
        cursor = answer.cursor;
        times.push(began.elapsed());
    }
    (times, cursor)
}

#[tokio::test]
async fn an_idle_watch_outlives_the_timeout_of_each_proxy() {
    let stack = Stack::builder()
        .variable("data", "TRUSTED_PROXIES", "127.0.0.1")
        .start()
        .await
        .unwrap();
    let proxies = start(&stack);
    let writer = Device::invent(&stack).await.unwrap();
    let mut watchers = Vec::new();
    for proxy in &proxies {
        let device = writer.another().await.unwrap();
        let through = client(&stack, proxy).with_token(&device.person.token).unwrap();
        let request = WatchChangesRequest {
            device_id: device.id.to_string(),
            cursor: String::new(),
        };
        let mut watch = through.cycle().watch_changes(request).await.unwrap().into_inner();
        let first = watch.message().await.unwrap().unwrap();
        assert!(first.entries.is_empty());
        watchers.push((proxy, device, through, watch));
    }
    let quiet = watchers.iter_mut().map(|(proxy, _, _, watch)| async {
        let (times, cursor) = idle_answers(watch).await;
        eprintln!("{}: {times:?}", proxy.kind);
        assert!((3..=4).contains(&times.len()), "{}: {times:?}", proxy.kind);
        cursor
    });
    let cursors = futures_util::future::join_all(quiet).await;

    // The watch goes on, and the cursor of an answer without entries continues it.
    let change = writer.create(haven_testkit::random::uuid(), "a").unwrap();
    writer.client.cycle().create_record(change).await.unwrap();
    for ((proxy, device, through, mut watch), cursor) in watchers.into_iter().zip(cursors) {
        let news = watch.message().await.unwrap().unwrap();
        assert_eq!(news.entries.len(), 1, "{}", proxy.kind);
        let request = WatchChangesRequest {
            device_id: device.id.to_string(),
            cursor,
        };
        let mut resumed = through.cycle().watch_changes(request).await.unwrap().into_inner();
        let again = resumed.message().await.unwrap().unwrap();
        assert_eq!(again.entries, news.entries, "{}", proxy.kind);
    }
}
