//! Answers to a device with an overdue key rotation have metadata with the due time.

use haven_proto::data::v1::{
    DeleteRecordRequest, GetPreferencesRequest, GetRecordRequest, ListDevicesRequest, ListRecordsRequest,
};
use haven_testkit::{Stack, random};
use tonic::Response;

use super::{list_all, rotate, rotate_request, suspend, suspend_request};
use crate::{preferences::put_request, superuser_sql::execute, test_device::Device};

/// The due time that the tests set.
const DUE: &str = "2026-02-03T04:05:06Z";

/// Returns the due time in the metadata of an answer, or `None` when there is none.
fn due_time<T>(response: &Response<T>) -> Option<String> {
    let value = response.metadata().get("haven-key-rotation-due-time")?;
    Some(value.to_str().unwrap().to_owned())
}

/// Calls several RPCs as `device`, and returns the due time in each answer. The calls store a record, and preferences
/// over the version `seen`.
async fn due_times_of_answers(device: &Device, seen: i64) -> Vec<(&'static str, Option<String>)> {
    let (client, device_id) = (&device.client, device.id.to_string());
    let record = random::uuid();
    let mut due_times = Vec::new();
    let request = device.create(record, "one").unwrap();
    let answer = client.cycle().create_record(request).await.unwrap();
    due_times.push(("CreateRecord", due_time(&answer)));
    let request = GetRecordRequest {
        record_id: record.to_string(),
        device_id: device_id.clone(),
    };
    due_times.push((
        "GetRecord",
        due_time(&client.cycle().get_record(request).await.unwrap()),
    ));
    let request = ListRecordsRequest {
        device_id: device_id.clone(),
        ..ListRecordsRequest::default()
    };
    due_times.push((
        "ListRecords",
        due_time(&client.cycle().list_records(request).await.unwrap()),
    ));
    let request = device.update(record, 1, "two").unwrap();
    let answer = client.cycle().update_record(request).await.unwrap();
    due_times.push(("UpdateRecord", due_time(&answer)));
    let request = DeleteRecordRequest {
        device_id: device_id.clone(),
        record_id: record.to_string(),
        expected_version: 2,
        request_id: random::uuid().to_string(),
    };
    let answer = client.cycle().delete_record(request).await.unwrap();
    due_times.push(("DeleteRecord", due_time(&answer)));
    // A retry has the metadata as well.
    let request = put_request(device, seen, "dark").unwrap();
    for _ in 0..2 {
        let answer = client
            .preferences()
            .put_preferences(request.clone())
            .await
            .unwrap();
        due_times.push(("PutPreferences", due_time(&answer)));
    }
    let request = GetPreferencesRequest {
        device_id: device_id.clone(),
    };
    let answer = client.preferences().get_preferences(request).await.unwrap();
    due_times.push(("GetPreferences", due_time(&answer)));
    let request = ListDevicesRequest {
        device_id,
        ..ListDevicesRequest::default()
    };
    due_times.push((
        "ListDevices",
        due_time(&client.device().list_devices(request).await.unwrap()),
    ));
    due_times
}

#[tokio::test]
async fn answers_have_the_due_time_from_the_moment_that_a_rotation_is_due() {
    let stack = Stack::shared().await.unwrap();
    let mut device = Device::invent(stack).await.unwrap();
    let other = device.another().await.unwrap();
    for (rpc, time) in due_times_of_answers(&device, 0).await {
        assert_eq!(time, None, "{rpc}");
    }
    let overdue = format!(
        "UPDATE data.device_key SET next_rotation_at = '{DUE}' WHERE id = '{}'",
        device.id
    );
    execute(&stack.database, &overdue).await;
    for (rpc, time) in due_times_of_answers(&device, 1).await {
        assert_eq!(time.as_deref(), Some(DUE), "{rpc}");
    }
    // The other device gets no metadata, but sees `rotation_overdue` in the list.
    for (rpc, time) in due_times_of_answers(&other, 2).await {
        assert_eq!(time, None, "{rpc}");
    }
    let [listed, another] = list_all(&device.client).await.try_into().unwrap();
    assert!(listed.rotation_overdue && !another.rotation_overdue);
    let rotated = rotate(&device.client, rotate_request(&listed)).await.unwrap();
    assert!(!rotated.rotation_overdue);
    device.key_version = rotated.key_version;
    for (rpc, time) in due_times_of_answers(&device, 3).await {
        assert_eq!(time, None, "{rpc}");
    }
}

#[tokio::test]
async fn answers_to_no_device_or_an_inactive_one_have_no_due_time() {
    let stack = Stack::shared().await.unwrap();
    let device = Device::invent(stack).await.unwrap();
    let overdue = format!(
        "UPDATE data.device_key SET next_rotation_at = '{DUE}' WHERE id = '{}'",
        device.id
    );
    execute(&stack.database, &overdue).await;
    let [itself] = list_all(&device.client).await.try_into().unwrap();
    suspend(&device.client, suspend_request(&itself)).await.unwrap();
    for device_id in [String::new(), random::uuid().to_string(), itself.device_id] {
        let request = ListDevicesRequest {
            device_id,
            ..ListDevicesRequest::default()
        };
        let answer = device.client.device().list_devices(request).await.unwrap();
        assert_eq!(due_time(&answer), None);
        assert_eq!(answer.get_ref().devices.len(), 1);
    }
}
