//! Eight concurrent writers and one reader: the feed has no gap and no repetition.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use haven_proto::data::v1::{FeedEntry, PushChangesRequest, PushMode};
use haven_testkit::{Stack, random};
use tokio::time::timeout;
use tonic::Code;
use uuid::Uuid;

use super::{BEGINNING, LIMIT, Watcher, numbers, pull, retry};
use crate::test_device::Device;

/// Number of concurrent writers.
const WRITERS: usize = 8;
/// Time after which the writers stop.
const WRITE_TIME: Duration = Duration::from_secs(20);

/// A change number that a writer was given, and its record.
type Given = (i64, Uuid);

/// Creates records, updates them and pushes several at once until `over` is set. Returns every change number that it
/// was given.
async fn write(device: &Device, over: &AtomicBool) -> Vec<Given> {
    let mut given = Vec::new();
    for turn in 0.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let mut cycle = device.client.cycle();
        let record = random::uuid();
        let request = device.create(record, "content").unwrap();
        let answer = retry(async || cycle.create_record(request.clone()).await).await;
        let answer = answer.unwrap().into_inner();
        given.push((answer.record.unwrap().change_number, record));
        match turn % 3 {
            0 => {
                let request = device.update(record, 1, "content, again").unwrap();
                let answer = retry(async || cycle.update_record(request.clone()).await).await;
                let answer = answer.unwrap().into_inner();
                given.push((answer.record.unwrap().change_number, record));
            }
            1 => {
                let records: Vec<_> = (0..3).map(|_| random::uuid()).collect();
                let request = PushChangesRequest {
                    device_id: device.id.to_string(),
                    changes: records
                        .iter()
                        .map(|record| device.put(*record, 0, "content").unwrap())
                        .collect(),
                    mode: PushMode::Atomic.into(),
                    request_id: random::uuid().to_string(),
                };
                let answer = retry(async || cycle.push_changes(request.clone()).await).await;
                let answer = answer.unwrap().into_inner();
                let numbers = answer.results.iter().map(|result| result.change_number);
                given.extend(numbers.zip(records));
            }
            _ => {}
        }
    }
    given
}

/// Reads the feed until `over` is set: alternately with PullChanges, and with a few answers of WatchChanges.
async fn read(device: &Device, over: &AtomicBool) -> Vec<FeedEntry> {
    let (mut seen, mut cursor) = (Vec::new(), BEGINNING.to_owned());
    for turn in 0.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        if turn % 2 == 0 {
            let (entries, next) = pull(device, &cursor).await.unwrap();
            seen.extend(entries);
            cursor = next;
            continue;
        }
        let watcher = retry(async || Watcher::start(device, &cursor).await).await;
        let mut watcher = watcher.unwrap();
        for _ in 0..turn % 20 {
            // No answer arrives once the writers have stopped.
            let Ok(next) = timeout(Duration::from_secs(2), watcher.next()).await else {
                break;
            };
            let (entries, next) = match next {
                Ok(next) => next,
                // A refused reader retries.
                Err(status) if status.code() == Code::Unavailable => break,
                Err(status) => panic!("{status}"),
            };
            seen.extend(entries);
            cursor = next;
        }
    }
    seen.extend(pull(device, &cursor).await.unwrap().0);
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_sees_the_changes_of_eight_writers_without_gap_or_repetition() {
    let stack = Stack::start().await.unwrap();
    let reader = Device::invent(&stack).await.unwrap();
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        writers.push(reader.another().await.unwrap());
    }
    let (written, read_all) = (AtomicBool::new(false), AtomicBool::new(false));
    let writing = async {
        let all = join_all(writers.iter().map(|device| write(device, &written)));
        let stopping = async {
            tokio::time::sleep(WRITE_TIME).await;
            written.store(true, Ordering::Relaxed);
        };
        let (all, ()) = tokio::join!(all, stopping);
        read_all.store(true, Ordering::Relaxed);
        all.into_iter().flatten().collect::<Vec<Given>>()
    };
    let began = Instant::now();
    let both = async { tokio::join!(writing, read(&reader, &read_all)) };
    let (mut given, seen) = timeout(WRITE_TIME + 2 * LIMIT, both)
        .await
        .expect("writers and reader do not end in time");
    eprintln!("{} changes in {:?}", given.len(), began.elapsed());

    // Every number was given out exactly once.
    given.sort();
    assert!(given.iter().map(|(number, _)| *number).eq(1..=given.len() as i64));
    let order = numbers(&seen);
    assert!(
        order.windows(2).all(|pair| pair[0] < pair[1]),
        "numbers must increase"
    );
    // A number that the feed did not show belongs to a record that changed again, and the later change was shown.
    let seen: BTreeMap<i64, String> = seen
        .into_iter()
        .map(|entry| (entry.change_number, entry.record.unwrap().record_id))
        .collect();
    let last: BTreeMap<Uuid, i64> = given.iter().map(|(number, record)| (*record, *number)).collect();
    for (number, record) in given {
        match seen.get(&number) {
            Some(found) => assert_eq!(*found, record.to_string()),
            None => assert!(
                last[&record] > number && seen.contains_key(&last[&record]),
                "change {number} is missing"
            ),
        }
    }
}
