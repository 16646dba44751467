//! `kill -9` in the middle of writes: answered writes are kept, and retried writes are made once.

use std::{cell::Cell, collections::BTreeMap};

use futures_util::future::join_all;
use haven_proto::data::v1::{ListRecordsRequest, RecordOrder};
use haven_testkit::{Stack, random};

use super::{create, delete, delete_request, list_all, update};
use crate::{eventually::eventually, superuser_sql::scalar, test_device::Device};

/// Number of concurrent writers, each with a connection of its own.
const WRITERS: usize = 6;

/// Number of records that each writer creates and updates. Every third one is deleted.
const RECORDS: usize = 12;

#[tokio::test]
async fn a_write_retried_after_a_kill_is_made_once() {
    let mut stack = Stack::start().await.unwrap();
    let device = Device::invent(&stack).await.unwrap();
    let answers = Cell::new(0);
    let clients = (0..WRITERS).map(|_| stack.user(&device.person).unwrap());
    let clients: Vec<_> = clients.collect();
    let write = async |client: &_| {
        let mut expected = Vec::new();
        for round in 0..RECORDS {
            let id = random::uuid();
            let mut last = create(client, device.create(id, "one").unwrap()).await.unwrap();
            assert_eq!(last.version, 1);
            answers.set(answers.get() + 1);
            last = update(client, device.update(id, 1, "two").unwrap())
                .await
                .unwrap();
            assert_eq!(last.version, 2);
            answers.set(answers.get() + 1);
            if round % 3 == 0 {
                last = delete(client, delete_request(&device, id, 2)).await.unwrap();
                assert_eq!(last.version, 3);
                answers.set(answers.get() + 1);
            }
            expected.push((id.to_string(), last));
        }
        expected
    };
    let service = &mut stack.data;
    let (written, ()) = tokio::join!(join_all(clients.iter().map(write)), async {
        for kill in 1..=3 {
            eventually("writes are answered", async || answers.get() >= 30 * kill).await;
            service.kill();
            service.start().await.unwrap();
        }
    });
    let written: BTreeMap<_, _> = written.into_iter().flatten().collect();
    assert_eq!(written.len(), WRITERS * RECORDS);
    let request = ListRecordsRequest {
        order: RecordOrder::ByChange.into(),
        ..ListRecordsRequest::default()
    };
    let (records, _) = list_all(&device.client, request).await;
    for record in &records {
        let last = &written[&record.record_id];
        assert_eq!((record.version, record.change_number), (2, last.change_number));
        assert_eq!(record.update_time, last.change_time);
        assert_eq!(device.open(record).unwrap(), "two");
    }
    assert_eq!(records.len(), WRITERS * RECORDS * 2 / 3);
    let changes = WRITERS * (2 * RECORDS + RECORDS / 3);
    assert_eq!(answers.get(), changes);
    let left: String = scalar(
        &stack.database,
        "SELECT concat_ws(' ', (SELECT last_number FROM data.change_counters),
             (SELECT count(*) FROM data.encrypted_cycle_data), (SELECT count(*) FROM data.envelope_nonces),
             (SELECT count(*) FROM data.requests WHERE method LIKE '%Record'))",
    )
    .await;
    let expected = format!("{changes} {} {changes} {changes}", written.len());
    assert_eq!(
        left, expected,
        "the last change number, records, nonces, requests"
    );
}
