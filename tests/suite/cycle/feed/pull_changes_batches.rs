//! PullChanges with many changes: several answers, each of bounded size, which are read when the client takes them.

use haven_proto::data::v1::PullChangesRequest;
use haven_testkit::Stack;
use tokio::time::timeout;

use super::{BEGINNING, LIMIT, answers, numbers, pull, store_many};
use crate::{eventually::eventually, metrics::Metrics, test_device::Device};

#[tokio::test]
async fn the_cursor_of_each_answer_leads_to_the_entries_after_it() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    store_many(stack, &phone, 1750, 1).await;
    let all = answers(&phone, BEGINNING).await.unwrap();
    let sizes: Vec<_> = all.iter().map(|answer| answer.entries.len()).collect();
    assert_eq!(sizes, [500, 500, 500, 250]);
    let entries: Vec<_> = all.iter().flat_map(|answer| answer.entries.clone()).collect();
    assert_eq!(numbers(&entries), (1..=1750).collect::<Vec<_>>());
    for (index, answer) in all.iter().enumerate() {
        let (rest, _) = pull(&phone, &answer.cursor).await.unwrap();
        assert_eq!(rest, entries[((index + 1) * 500).min(1750)..], "{index}");
    }
}

#[tokio::test]
async fn an_answer_has_at_most_a_mebibyte_of_payloads_and_one_more() {
    const LARGEST: usize = 65_536;
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    store_many(stack, &phone, 40, LARGEST / 32).await;
    store_many(stack, &phone, 40, 1).await;
    let all = answers(&phone, BEGINNING).await.unwrap();
    let sizes: Vec<_> = all.iter().map(|answer| answer.entries.len()).collect();
    // 16 of the largest payloads are a mebibyte; all small ones fit beside the last of the large ones.
    assert_eq!(sizes, [16, 16, 48]);
    let entries: Vec<_> = all.into_iter().flat_map(|answer| answer.entries).collect();
    assert_eq!(numbers(&entries), (1..=80).collect::<Vec<_>>());
    let payload = |i: usize| entries[i].record.as_ref().unwrap().encrypted_payload.len();
    assert_eq!((payload(0), payload(79)), (LARGEST, 32));
}

#[tokio::test]
async fn the_service_stops_reading_for_a_client_that_does_not_read() {
    const RECORDS: usize = 3000;
    // 128 payloads of 8 KiB are a mebibyte.
    const PARTS: usize = RECORDS.div_ceil(128);
    let stack = Stack::start().await.unwrap();
    let phone = Device::invent(&stack).await.unwrap();
    store_many(&stack, &phone, RECORDS, 256).await;
    let reads = async || {
        let metrics = Metrics::read(stack.data.listeners.metrics).await;
        let reads = [("transaction", "ReadChanges")];
        metrics
            .sum("haven_db_transaction_seconds_count", &reads)
            .unwrap_or_default()
    };
    let request = PullChangesRequest {
        device_id: phone.id.to_string(),
        cursor: String::new(),
    };
    let answer = phone.client.cycle().pull_changes(request).await.unwrap();
    let mut stream = answer.into_inner();
    let first = timeout(LIMIT, stream.message()).await.unwrap().unwrap().unwrap();
    // HTTP/2 flow control bounds the data that is under way, and the service buffers nothing behind it.
    let mut seen = -1.0;
    eventually("the service has stopped reading", async || {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let now = reads().await;
        std::mem::replace(&mut seen, now) == now
    })
    .await;
    assert!(seen < PARTS as f64 * 0.75, "{seen}");
    // The stream goes on where it stopped.
    let mut entries = first.entries;
    while entries.len() < RECORDS {
        let next = timeout(LIMIT, stream.message()).await.unwrap().unwrap();
        entries.extend(next.expect("the stream ended early").entries);
    }
    assert!(timeout(LIMIT, stream.message()).await.unwrap().unwrap().is_none());
    assert!(numbers(&entries) == (1..=RECORDS as i64).collect::<Vec<_>>());
    // The service reads the feed once for each answer.
    assert_eq!(reads().await, PARTS as f64);
}

#[tokio::test]
async fn changes_made_during_a_pull_are_delivered_by_the_next_one() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    store_many(stack, &phone, 3000, 256).await;
    let request = PullChangesRequest {
        device_id: phone.id.to_string(),
        cursor: String::new(),
    };
    let answer = phone.client.cycle().pull_changes(request).await.unwrap();
    let mut stream = answer.into_inner();
    // The records fill more than 20 answers, and the first answer is on its way.
    store_many(stack, &phone, 5000, 1).await;
    let (mut entries, mut cursor) = (Vec::new(), String::new());
    while let Some(answer) = timeout(LIMIT, stream.message()).await.unwrap().unwrap() {
        entries.extend(answer.entries);
        cursor = answer.cursor;
    }
    assert!((3000..3500).contains(&entries.len()), "{}", entries.len());
    entries.extend(pull(&phone, &cursor).await.unwrap().0);
    assert!(numbers(&entries) == (1..=8000).collect::<Vec<_>>());
}
