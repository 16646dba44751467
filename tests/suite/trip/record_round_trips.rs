//! Round trips to Postgres of records: a change, a push, a read and a part of the feed take one, for one function each.

use haven_proto::data::v1::{
    DeleteRecordRequest, GetRecordRequest, PullChangesRequest, PushChangesRequest, PushMode,
};
use haven_testkit::{Stack, random};

use crate::test_device::Device;

/// Rounds before the measurement. A connection prepares each statement, and looks up each type, at its first use.
const WARM: usize = 8;

#[tokio::test]
async fn a_change_a_push_and_a_read_of_records_take_one_round_trip() {
    let stack = Stack::builder()
        .counted()
        .variable("data", "DATABASE_POOL_SIZE", "1")
        .start()
        .await
        .unwrap();
    let phone = Device::invent(&stack).await.unwrap();
    let mut cycle = phone.client.cycle();
    let mut trips = Vec::new();
    for _ in 0..WARM + 5 {
        let (record, other) = (random::uuid(), random::uuid());
        let mut so_far = vec![stack.round_trips("data")];
        let create = phone.create(record, "one").unwrap();
        cycle.create_record(create).await.unwrap();
        so_far.push(stack.round_trips("data"));
        let update = phone.update(record, 1, "two").unwrap();
        cycle.update_record(update).await.unwrap();
        so_far.push(stack.round_trips("data"));
        let get = GetRecordRequest {
            record_id: record.to_string(),
            device_id: phone.id.to_string(),
        };
        cycle.get_record(get).await.unwrap();
        so_far.push(stack.round_trips("data"));
        let delete = DeleteRecordRequest {
            device_id: phone.id.to_string(),
            record_id: record.to_string(),
            expected_version: 2,
            request_id: random::uuid().to_string(),
        };
        cycle.delete_record(delete).await.unwrap();
        so_far.push(stack.round_trips("data"));
        // The second change of an atomic push is of a record that is deleted, so the push is rolled back.
        for mode in [PushMode::Independent, PushMode::Atomic] {
            let push = PushChangesRequest {
                device_id: phone.id.to_string(),
                changes: vec![
                    phone.put(random::uuid(), 0, "three").unwrap(),
                    phone
                        .put(if mode == PushMode::Atomic { record } else { other }, 0, "four")
                        .unwrap(),
                ],
                mode: mode.into(),
                request_id: random::uuid().to_string(),
            };
            cycle.push_changes(push).await.unwrap();
            so_far.push(stack.round_trips("data"));
        }
        let pull = PullChangesRequest {
            device_id: phone.id.to_string(),
            cursor: String::new(),
        };
        let mut answers = cycle.pull_changes(pull).await.unwrap().into_inner();
        while answers.message().await.unwrap().is_some() {}
        so_far.push(stack.round_trips("data"));
        trips.push([0, 1, 2, 3, 4, 5, 6].map(|i| so_far[i + 1] - so_far[i]));
    }
    // The readiness check uses the same pool once a second, so some counts are one higher.
    let least = trips
        .iter()
        .skip(WARM)
        .copied()
        .reduce(|a, b| std::array::from_fn(|i| a[i].min(b[i])))
        .unwrap();
    assert_eq!(
        least, [1; 7],
        "create, update, get, delete, push, atomic push, pull: {trips:?}"
    );
}
