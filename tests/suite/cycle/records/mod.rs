//! Cycle records: CreateRecord, GetRecord, ListRecords, UpdateRecord and DeleteRecord.

mod calling_device;
mod concurrent_writes;
mod create_record;
mod delete_record;
mod erasure;
mod list_records;
mod other_people;
mod query_plans;
mod reencryption_due;
mod service_kills;
mod sql_functions;
mod sync_status;
mod update_record;

use haven_proto::data::v1::{
    CreateRecordRequest, DeleteRecordRequest, GetRecordRequest, ListRecordsRequest, Record, RecordVersion,
    UpdateRecordRequest,
};
use haven_testkit::{Client, random};
use tonic::Status;
use uuid::Uuid;

use crate::{retry::retry_call, test_device::Device};

/// Calls CreateRecord, and retries the call when the answer allows a retry.
async fn create(client: &Client, request: CreateRecordRequest) -> Result<RecordVersion, Status> {
    let mut cycle = client.cycle();
    let answer = retry_call(request, async |request| cycle.create_record(request).await).await?;
    Ok(answer.record.unwrap())
}

/// Calls UpdateRecord, and retries the call when the answer allows a retry.
async fn update(client: &Client, request: UpdateRecordRequest) -> Result<RecordVersion, Status> {
    let mut cycle = client.cycle();
    let answer = retry_call(request, async |request| cycle.update_record(request).await).await?;
    Ok(answer.record.unwrap())
}

/// Calls DeleteRecord, and retries the call when the answer allows a retry.
async fn delete(client: &Client, request: DeleteRecordRequest) -> Result<RecordVersion, Status> {
    let mut cycle = client.cycle();
    let answer = retry_call(request, async |request| cycle.delete_record(request).await).await?;
    Ok(answer.record.unwrap())
}

/// Calls GetRecord, and retries the call when the answer allows a retry.
async fn get(client: &Client, id: Uuid) -> Result<Record, Status> {
    let request = GetRecordRequest {
        record_id: id.to_string(),
        device_id: String::new(),
    };
    let mut cycle = client.cycle();
    let answer = retry_call(request, async |request| cycle.get_record(request).await).await?;
    Ok(answer.record.unwrap())
}

/// Stores a record with `content`, and returns its id.
async fn store(device: &Device, content: &str) -> Uuid {
    let id = random::uuid();
    let request = device.create(id, content).unwrap();
    create(&device.client, request).await.unwrap();
    id
}

/// Returns a request to delete a record over the version `seen`.
fn delete_request(device: &Device, record: Uuid, seen: i64) -> DeleteRecordRequest {
    DeleteRecordRequest {
        device_id: device.id.to_string(),
        record_id: record.to_string(),
        expected_version: seen,
        request_id: random::uuid().to_string(),
    }
}

/// Returns every record that `request` lists, from all pages, and the number of pages.
async fn list_all(client: &Client, mut request: ListRecordsRequest) -> (Vec<Record>, usize) {
    let (mut seen, mut pages) = (Vec::new(), 0);
    loop {
        let page = client.cycle().list_records(request.clone()).await;
        let page = page.unwrap().into_inner();
        seen.extend(page.records);
        pages += 1;
        if page.next_page_token.is_empty() {
            return (seen, pages);
        }
        assert!(pages < 1_000, "there are too many pages");
        request.page_token = page.next_page_token;
    }
}
