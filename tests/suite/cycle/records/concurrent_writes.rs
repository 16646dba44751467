//! Concurrent writes: each version is made once, and every writer that lost gets an error.

use std::fmt::Debug;

use futures_util::future::join_all;
use haven_proto::data::v1::{RecordVersion, UpdateRecordRequest};
use haven_testkit::{Stack, random};
use tokio::sync::Semaphore;
use tonic::Status;

use super::{create, delete, delete_request, get, store, update};
use crate::{
    status::{metadata, reason},
    superuser_sql::scalar,
    test_device::Device,
};

/// Number of concurrent calls.
const CROWD: usize = 20;

/// Number of writers of one record.
const WRITERS: usize = 100;

/// Number of writers that retry at once after they lost.
const RETRY_CONCURRENCY: usize = 8;

/// Returns the successful answers, and the reasons of the others.
fn split_answers<T: Debug>(answers: Vec<Result<T, Status>>) -> (Vec<T>, Vec<String>) {
    let (mut made, mut refused) = (Vec::new(), Vec::new());
    for answer in answers {
        match answer {
            Ok(answer) => made.push(answer),
            Err(status) => refused.push(reason(&status)),
        }
    }
    (made, refused)
}

#[tokio::test]
async fn a_hundred_concurrent_writers_make_a_hundred_versions() {
    let stack = Stack::start().await.unwrap();
    let device = Device::invent(&stack).await.unwrap();
    let other = device.another().await.unwrap();
    let id = store(&device, "0").await;
    let turns = Semaphore::new(RETRY_CONCURRENCY);
    // Every writer starts with version 1, and retries with the version in the error.
    let write = async |writer: usize| {
        let device = if writer.is_multiple_of(2) { &device } else { &other };
        let (mut seen, mut turn) = (1, None);
        for _ in 0..WRITERS * WRITERS {
            let request = device.update(id, seen, &writer.to_string()).unwrap();
            match update(&device.client, request).await {
                Ok(made) => return (writer, made),
                Err(status) => {
                    assert_eq!(reason(&status), "VERSION_CONFLICT");
                    let current = metadata(&status, "current_version").parse().unwrap();
                    assert!(current > seen, "{current} after {seen}");
                    seen = current;
                }
            }
            if turn.is_none() {
                turn = Some(turns.acquire().await.unwrap());
            }
        }
        panic!("writer {writer} never succeeds");
    };
    let mut made = join_all((1..=WRITERS).map(write)).await;
    made.sort_by_key(|(_, version)| version.version);
    let versions: Vec<_> = made
        .iter()
        .map(|(_, made)| (made.version, made.change_number))
        .collect();
    let expected: Vec<_> = (2..=WRITERS as i64 + 1)
        .map(|version| (version, version))
        .collect();
    assert_eq!(versions, expected);
    let record = get(&device.client, id).await.unwrap();
    let (last, _) = made.last().unwrap();
    assert_eq!(
        (record.version, device.open(&record).unwrap()),
        (101, last.to_string())
    );
    let left: String = scalar(
        &stack.database,
        "SELECT concat_ws(' ', (SELECT last_number FROM data.change_counters),
             (SELECT count(*) FROM data.envelope_nonces), (SELECT count(*) FROM data.cycle_data_conflicts))",
    )
    .await;
    assert_eq!(left, "101 101 0", "the last change number, nonces, conflicts");
}

#[tokio::test]
async fn concurrent_retries_make_one_change() {
    let stack = Stack::start().await.unwrap();
    let device = Device::invent(&stack).await.unwrap();
    let id = random::uuid();
    let same = |answers: Vec<Result<RecordVersion, Status>>, version: i64| {
        let (made, refused) = split_answers(answers);
        assert_eq!(refused, [""; 0]);
        assert_eq!((made[0].version, made[0].change_number), (version, version));
        assert_eq!(made, vec![made[0].clone(); CROWD]);
    };
    let request = device.create(id, "1").unwrap();
    let answers = join_all((0..CROWD).map(|_| create(&device.client, request.clone()))).await;
    same(answers, 1);
    let request = device.update(id, 1, "2").unwrap();
    let answers = join_all((0..CROWD).map(|_| update(&device.client, request.clone()))).await;
    same(answers, 2);
    // Many requests with different request ids have the same content.
    let request = device.update(id, 2, "3").unwrap();
    let requests = (0..CROWD).map(|_| UpdateRecordRequest {
        request_id: random::uuid().to_string(),
        ..request.clone()
    });
    let answers = join_all(requests.map(|request| update(&device.client, request))).await;
    same(answers, 3);
    let request = delete_request(&device, id, 3);
    let answers = join_all((0..CROWD).map(|_| delete(&device.client, request.clone()))).await;
    same(answers, 4);
}

#[tokio::test]
async fn one_of_many_concurrent_creations_of_a_record_succeeds() {
    let stack = Stack::start().await.unwrap();
    let device = Device::invent(&stack).await.unwrap();
    let id = random::uuid();
    let attempts = (0..CROWD).map(|i| create(&device.client, device.create(id, &i.to_string()).unwrap()));
    let (made, refused) = split_answers(join_all(attempts).await);
    assert_eq!(made.len(), 1);
    assert_eq!(refused, vec!["RECORD_EXISTS"; CROWD - 1]);
    // Equal deletions get equal answers under any request id, but not from another device.
    let other = device.another().await.unwrap();
    let attempts = (0..CROWD).map(async |index| {
        let device = [&device, &other][index % 2];
        delete(&device.client, delete_request(device, id, 1)).await
    });
    let (made, refused) = split_answers(join_all(attempts).await);
    assert_eq!(made, vec![made[0].clone(); CROWD / 2]);
    assert_eq!(refused, vec!["NOT_FOUND"; CROWD / 2]);
    assert_eq!((made[0].version, made[0].change_number), (2, 2));
}

#[tokio::test]
async fn a_request_id_used_concurrently_for_many_records_creates_one() {
    let stack = Stack::start().await.unwrap();
    let device = Device::invent(&stack).await.unwrap();
    let request_id = random::uuid().to_string();
    let ids: Vec<_> = (0..CROWD).map(|_| random::uuid()).collect();
    let attempts = ids.iter().map(|id| {
        let mut request = device.create(*id, "hello").unwrap();
        request.request_id = request_id.clone();
        create(&device.client, request)
    });
    let (made, refused) = split_answers(join_all(attempts).await);
    assert_eq!(made.len(), 1);
    assert_eq!(refused, vec!["REQUEST_ID_REUSED"; CROWD - 1]);
    let left: String = scalar(
        &stack.database,
        "SELECT concat_ws(' ', (SELECT last_number FROM data.change_counters),
             (SELECT count(*) FROM data.encrypted_cycle_data), (SELECT count(*) FROM data.envelope_nonces))",
    )
    .await;
    assert_eq!(left, "1 1 1", "the last change number, records, nonces");
}

#[tokio::test]
async fn one_of_a_concurrent_update_and_deletion_succeeds() {
    let stack = Stack::shared().await.unwrap();
    let device = Device::invent(stack).await.unwrap();
    let other = device.another().await.unwrap();
    for _ in 0..CROWD {
        let id = store(&device, "one").await;
        let (changed, deleted) = tokio::join!(
            update(&device.client, device.update(id, 1, "two").unwrap()),
            delete(&other.client, delete_request(&other, id, 1))
        );
        match (changed, deleted) {
            (Ok(changed), Err(status)) => {
                assert_eq!(reason(&status), "VERSION_CONFLICT");
                assert_eq!(metadata(&status, "current_version"), "2");
                assert_eq!(get(&device.client, id).await.unwrap().version, changed.version);
            }
            (Err(status), Ok(deleted)) => {
                assert_eq!((reason(&status).as_str(), deleted.version), ("NOT_FOUND", 2));
                assert_eq!(reason(&get(&device.client, id).await.unwrap_err()), "NOT_FOUND");
            }
            both => panic!("{both:?}"),
        }
    }
}
