//! WatchChanges without news: an answer with the cursor alone every 20 seconds, and a client that does not read it.

use std::time::Duration;

use haven_proto::data::v1::{WatchChangesRequest, WatchChangesResponse};
use haven_testkit::Stack;
use prost::Message;
use tokio::time::{Instant, timeout};
use tonic::Streaming;

use super::{BEGINNING, Watcher, create, numbers};
use crate::{eventually::within, metrics::Metrics, platform::attacker::Attacker, test_device::Device};

const WATCH: &str = "haven.data.v1.CycleService/WatchChanges";

fn request(device: &Device) -> WatchChangesRequest {
    WatchChangesRequest {
        device_id: device.id.to_string(),
        cursor: BEGINNING.to_owned(),
    }
}

async fn open(device: &Device) -> Streaming<WatchChangesResponse> {
    let answer = device.client.cycle().watch_changes(request(device)).await;
    answer.unwrap().into_inner()
}

#[tokio::test]
async fn an_idle_watch_is_answered_every_twenty_seconds_and_an_unread_one_is_dropped() {
    let stack = Stack::start().await.unwrap();
    let phone = Device::invent(&stack).await.unwrap();
    let paused = phone.another().await.unwrap();
    let mut watch = open(&phone).await;
    let first = watch.message().await.unwrap().unwrap();
    assert!(first.entries.is_empty());

    // A paused app: it has room for the first answer and a little of the next one, and reads no further.
    let room = 5 + first.encoded_len() as u32 + 20;
    let mut attacker = Attacker::connect(&stack.certificates, stack.data.listeners.api, 3, room).await;
    attacker.call_with(&format!("/{WATCH}"), &paused.person.token, &request(&paused));
    let open_watches = async || {
        let page = Metrics::read(stack.data.listeners.metrics).await;
        page.sum("haven_rpc_in_flight", &[]).unwrap_or_default()
    };
    within(Duration::from_secs(10), "both watches are open", async || {
        open_watches().await >= 2.0
    })
    .await;

    let mut last = Instant::now();
    let mut cursor = String::new();
    for number in 0..2 {
        let next = timeout(Duration::from_secs(40), watch.message()).await;
        let answer = next.expect("no answer").unwrap().expect("the watch ended");
        assert!(answer.entries.is_empty() && !answer.cursor.is_empty());
        if number > 0 {
            assert!(last.elapsed() >= Duration::from_secs(19), "{:?}", last.elapsed());
        }
        (last, cursor) = (Instant::now(), answer.cursor);
    }
    // 20 seconds after the answer that it does not read.
    within(
        Duration::from_secs(30),
        "the unread watch is dropped",
        async || open_watches().await < 2.0,
    )
    .await;
    assert!(!attacker.is_closed(), "its connection may carry other calls");
    let page = Metrics::read(stack.data.listeners.metrics).await;
    assert_eq!(page.sum("haven_answers_unread_total", &[]), Some(1.0));

    // The reader goes on, also from the cursor of an idle answer.
    create(&phone, "a").await;
    let news = loop {
        let answer = watch.message().await.unwrap().unwrap();
        if !answer.entries.is_empty() {
            break answer;
        }
    };
    assert_eq!(numbers(&news.entries), [1]);
    let mut resumed = Watcher::start(&phone, &cursor).await.unwrap();
    assert_eq!(numbers(&resumed.next().await.unwrap().0), [1]);
}
