//! Cycle records, one at a time: stored, read, listed, changed and deleted.

mod changes;
mod costs;
mod create;
mod deletions;
mod devices;
mod due;
mod erased;
mod functions;
mod kills;
mod lists;
mod others;
mod races;

use std::time::{Duration, Instant};

use haven_proto::data::v1::{
    CreateRecordRequest, DeleteRecordRequest, GetRecordRequest, ListRecordsRequest, Record, RecordVersion,
    UpdateRecordRequest,
};
use haven_testkit::{Client, random};
use tonic::{Code, Request, Response, Status};
use uuid::Uuid;

use crate::device::Device;

/// How long a request is sent again at most.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long before it is sent again.
const PAUSE: Duration = Duration::from_millis(50);

/// Sends a request until it is answered, as clients do: in a crowd, on a busy machine, not everybody gets one of the
/// service's connections in time, and a service that is killed answers nobody.
async fn persist<T: Clone, A>(
    request: T,
    mut call: impl AsyncFnMut(Request<T>) -> Result<Response<A>, Status>,
) -> Result<A, Status> {
    let limit = Instant::now() + PATIENCE;
    loop {
        let mut patient = Request::new(request.clone());
        patient.set_timeout(PATIENCE);
        match call(patient).await {
            Err(status) if may_be_tried_again(&status) && Instant::now() < limit => {
                tokio::time::sleep(PAUSE).await;
            }
            answer => return answer.map(Response::into_inner),
        }
    }
}

fn may_be_tried_again(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable => true,
        // Not an answer: the connection broke in the middle of the call.
        Code::Unknown | Code::Cancelled => status.details().is_empty(),
        _ => false,
    }
}

async fn create(client: &Client, request: CreateRecordRequest) -> Result<RecordVersion, Status> {
    let mut cycle = client.cycle();
    let answer = persist(request, async |request| cycle.create_record(request).await).await?;
    Ok(answer.record.unwrap())
}

async fn update(client: &Client, request: UpdateRecordRequest) -> Result<RecordVersion, Status> {
    let mut cycle = client.cycle();
    let answer = persist(request, async |request| cycle.update_record(request).await).await?;
    Ok(answer.record.unwrap())
}

async fn delete(client: &Client, request: DeleteRecordRequest) -> Result<RecordVersion, Status> {
    let mut cycle = client.cycle();
    let answer = persist(request, async |request| cycle.delete_record(request).await).await?;
    Ok(answer.record.unwrap())
}

async fn get(client: &Client, id: Uuid) -> Result<Record, Status> {
    let request = GetRecordRequest {
        record_id: id.to_string(),
        device_id: String::new(),
    };
    let mut cycle = client.cycle();
    let answer = persist(request, async |request| cycle.get_record(request).await).await?;
    Ok(answer.record.unwrap())
}

/// Stores a record that says `content`, and answers its id.
async fn store(device: &Device, content: &str) -> Uuid {
    let id = random::uuid();
    let request = device.create(id, content).unwrap();
    create(&device.client, request).await.unwrap();
    id
}

/// A request to delete a record over a version.
fn deletion(device: &Device, record: Uuid, seen: i64) -> DeleteRecordRequest {
    DeleteRecordRequest {
        device_id: device.id.to_string(),
        record_id: record.to_string(),
        expected_version: seen,
        request_id: random::uuid().to_string(),
    }
}

/// Everything that `request` lists, from page to page, and how many pages that was.
async fn walk(client: &Client, mut request: ListRecordsRequest) -> (Vec<Record>, usize) {
    let (mut seen, mut pages) = (Vec::new(), 0);
    loop {
        let page = client.cycle().list_records(request.clone()).await;
        let page = page.unwrap().into_inner();
        seen.extend(page.records);
        pages += 1;
        if page.next_page_token.is_empty() {
            return (seen, pages);
        }
        assert!(pages < 1_000, "the pages do not end");
        request.page_token = page.next_page_token;
    }
}
