//! The calling device must be active and the caller's. The answer says when its key is due for rotation.

use haven_proto::data::v1::{GetRecordRequest, ListRecordsRequest};
use haven_testkit::{Stack, random};
use tonic::{Response, Status};
use uuid::Uuid;

use super::{create, delete, delete_request, get, store, update};
use crate::{cycle::last_change_number, status::reason, superuser_sql::execute, test_device::Device};

/// Returns the metadata of an answer that says when the next rotation is due.
fn due_time<T>(answer: Result<Response<T>, Status>) -> Option<String> {
    let answer = answer.unwrap();
    let value = answer.metadata().get("haven-key-rotation-due-time")?;
    Some(value.to_str().unwrap().to_owned())
}

fn get_request(record: Uuid, device: &str) -> GetRecordRequest {
    GetRecordRequest {
        record_id: record.to_string(),
        device_id: device.to_owned(),
    }
}

fn list_request(device: &str) -> ListRecordsRequest {
    ListRecordsRequest {
        device_id: device.to_owned(),
        ..ListRecordsRequest::default()
    }
}

/// Returns the due time of the next rotation from the answer of each RPC.
async fn every_answer(device: &Device) -> Vec<Option<String>> {
    let mut cycle = device.client.cycle();
    let id = random::uuid();
    let created = device.create(id, "one").unwrap();
    let updated = device.update(id, 1, "two").unwrap();
    let deleted = delete_request(device, id, 2);
    let caller = device.id.to_string();
    vec![
        due_time(cycle.create_record(created.clone()).await),
        // A retry has the metadata as well.
        due_time(cycle.create_record(created).await),
        due_time(cycle.update_record(updated).await),
        due_time(cycle.get_record(get_request(id, &caller)).await),
        due_time(cycle.list_records(list_request(&caller)).await),
        due_time(cycle.delete_record(deleted).await),
    ]
}

#[tokio::test]
async fn every_answer_to_a_device_with_an_overdue_rotation_has_the_due_time() {
    let stack = Stack::shared().await.unwrap();
    let device = Device::invent(stack).await.unwrap();
    let other = device.another().await.unwrap();
    assert_eq!(every_answer(&device).await, vec![None; 6]);
    let overdue = format!(
        "UPDATE data.device_key SET next_rotation_at = '2026-01-02 03:04:05.678Z' WHERE id = '{}'",
        device.id
    );
    execute(&stack.database, &overdue).await;
    let due = Some("2026-01-02T03:04:05Z".to_owned());
    assert_eq!(every_answer(&device).await, vec![due; 6]);
    assert_eq!(every_answer(&other).await, vec![None; 6]);
    // A call that names no device has no such metadata.
    let id = store(&device, "hello").await;
    let mut cycle = device.client.cycle();
    assert_eq!(due_time(cycle.get_record(get_request(id, "")).await), None);
    assert_eq!(due_time(cycle.list_records(list_request("")).await), None);
}

/// Returns the reason for which each RPC refuses a call of `device` about its record `id`.
async fn every_refusal(device: &Device, id: Uuid) -> Vec<String> {
    let mut cycle = device.client.cycle();
    let caller = device.id.to_string();
    let new = device.create(random::uuid(), "hello").unwrap();
    let refused = [
        create(&device.client, new).await.unwrap_err(),
        update(&device.client, device.update(id, 1, "goodbye").unwrap())
            .await
            .unwrap_err(),
        delete(&device.client, delete_request(device, id, 1))
            .await
            .unwrap_err(),
        cycle.get_record(get_request(id, &caller)).await.unwrap_err(),
        cycle.list_records(list_request(&caller)).await.unwrap_err(),
    ];
    refused.iter().map(reason).collect()
}

#[tokio::test]
async fn a_device_that_is_not_active_is_refused() {
    let stack = Stack::shared().await.unwrap();
    let device = Device::invent(stack).await.unwrap();
    let other = device.another().await.unwrap();
    let created = other.create(random::uuid(), "hello").unwrap();
    let answer = create(&other.client, created.clone()).await.unwrap();
    let id: Uuid = created.record_id.parse().unwrap();
    let record = get(&device.client, id).await.unwrap();
    for change in [
        "status = 'suspended'",
        "status = 'revoked', encrypted_master_key = NULL",
    ] {
        let sql = format!("UPDATE data.device_key SET {change} WHERE id = '{}'", other.id);
        execute(&stack.database, &sql).await;
        assert_eq!(
            every_refusal(&other, id).await,
            vec!["DEVICE_INACTIVE"; 5],
            "{change}"
        );
        // A retry gets the first answer.
        assert_eq!(create(&other.client, created.clone()).await.unwrap(), answer);
    }
    let after = get(&device.client, id).await.unwrap();
    assert_eq!(after.version, record.version);
    assert_eq!(last_change_number(stack, &device).await, 1);
    // The person's other device can go on.
    update(&device.client, device.update(id, 1, "goodbye").unwrap())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_device_of_another_person_is_refused() {
    let stack = Stack::shared().await.unwrap();
    let ada = Device::invent(stack).await.unwrap();
    let bob = Device::invent(stack).await.unwrap();
    let id = store(&ada, "hello").await;
    for unknown in [bob.id, random::uuid()] {
        let stranger = Device {
            id: unknown,
            ..ada.clone()
        };
        assert_eq!(every_refusal(&stranger, id).await, vec!["NOT_FOUND"; 5]);
    }
    // A person without any device is refused as well.
    let person = stack.person().await.unwrap();
    let stranger = Device {
        client: stack.user(&person).unwrap(),
        person,
        ..ada.clone()
    };
    assert_eq!(every_refusal(&stranger, id).await, vec!["NOT_FOUND"; 5]);
}
