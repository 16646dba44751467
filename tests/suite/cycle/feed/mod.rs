//! The change feed: PullChanges, WatchChanges and AcknowledgeChanges, and what is purged after an acknowledgement.

mod acknowledge_changes;
mod concurrent_writers;
mod cursors;
mod idle_watch;
mod pull_changes;
mod pull_changes_batches;
mod purged_records;
pub(crate) mod restore;
mod sweeper;
mod tombstone_retention;
mod watch_changes;
mod watch_ends;
mod writes_after_restore;

use std::time::Duration;

use haven_proto::data::v1::{
    AcknowledgeChangesRequest, AcknowledgeChangesResponse, Change, ChangeResult, FeedEntry,
    PullChangesRequest, PullChangesResponse, PushChangesRequest, PushMode, WatchChangesRequest,
    WatchChangesResponse,
};
use haven_testkit::{Stack, random};
use tokio::time::{Instant, timeout, timeout_at};
use tonic::{Status, Streaming};
use uuid::Uuid;

use crate::{retry::retry, superuser_sql::execute, test_device::Device};

/// Time limit of one wait, also on a machine that is busy with other tests.
const LIMIT: Duration = Duration::from_secs(30);

/// Maximum number of answers of a pull in these tests.
const MAX_ANSWERS: usize = 1000;

/// The empty cursor, which stands for the beginning of the feed.
pub(crate) const BEGINNING: &str = "";

/// Returns the answers of a pull after `cursor`. There is at least one.
async fn answers(device: &Device, cursor: &str) -> Result<Vec<PullChangesResponse>, Status> {
    retry(async || try_answers(device, cursor).await).await
}

/// Pulls once, without retries.
async fn try_answers(device: &Device, cursor: &str) -> Result<Vec<PullChangesResponse>, Status> {
    let request = PullChangesRequest {
        device_id: device.id.to_string(),
        cursor: cursor.to_owned(),
    };
    let mut cycle = device.client.cycle();
    let answer = timeout(LIMIT, cycle.pull_changes(request)).await;
    let mut stream = answer.expect("the stream does not begin")?.into_inner();
    let mut answers = Vec::new();
    while let Some(answer) = timeout(LIMIT, stream.message())
        .await
        .expect("no answer in time")?
    {
        answers.push(answer);
        assert!(answers.len() < MAX_ANSWERS, "there are too many answers");
    }
    Ok(answers)
}

/// Pulls after `cursor`, and returns the entries of all answers and the last cursor.
async fn pull(device: &Device, cursor: &str) -> Result<(Vec<FeedEntry>, String), Status> {
    let answers = answers(device, cursor).await?;
    let cursor = answers.last().expect("no answer").cursor.clone();
    let entries = answers.into_iter().flat_map(|answer| answer.entries);
    Ok((entries.collect(), cursor))
}

/// Acknowledges every change up to `cursor`.
async fn acknowledge(device: &Device, cursor: &str) -> Result<AcknowledgeChangesResponse, Status> {
    let request = AcknowledgeChangesRequest {
        device_id: device.id.to_string(),
        cursor: cursor.to_owned(),
    };
    let answer = retry(async || {
        let mut cycle = device.client.cycle();
        let answer = timeout(LIMIT, cycle.acknowledge_changes(request.clone())).await;
        answer.expect("no answer in time")
    });
    Ok(answer.await?.into_inner())
}

/// Pulls and acknowledges. Returns the last cursor.
pub(crate) async fn catch_up(device: &Device, cursor: &str) -> String {
    let (_, cursor) = pull(device, cursor).await.unwrap();
    acknowledge(device, &cursor).await.unwrap();
    cursor
}

/// Returns a request to push `changes` in the mode INDEPENDENT.
fn push_request(device: &Device, changes: Vec<Change>) -> PushChangesRequest {
    PushChangesRequest {
        device_id: device.id.to_string(),
        changes,
        mode: PushMode::Independent.into(),
        request_id: random::uuid().to_string(),
    }
}

/// Pushes `changes` in the mode INDEPENDENT, and returns their results.
async fn push(device: &Device, changes: Vec<Change>) -> Result<Vec<ChangeResult>, Status> {
    let request = push_request(device, changes);
    let answer = retry(async || device.client.cycle().push_changes(request.clone()).await);
    Ok(answer.await?.into_inner().results)
}

/// Stores `content` as a new record, and returns its id.
pub(crate) async fn create(device: &Device, content: &str) -> Uuid {
    let record = random::uuid();
    let request = device.create(record, content).unwrap();
    device.client.cycle().create_record(request).await.unwrap();
    record
}

/// Stores `content` over the version `seen` of a record.
async fn update(device: &Device, record: Uuid, seen: i64, content: &str) {
    let request = device.update(record, seen, content).unwrap();
    device.client.cycle().update_record(request).await.unwrap();
}

/// Deletes a record over the version `seen`.
async fn delete(device: &Device, record: Uuid, seen: i64) {
    let request = haven_proto::data::v1::DeleteRecordRequest {
        device_id: device.id.to_string(),
        record_id: record.to_string(),
        expected_version: seen,
        request_id: random::uuid().to_string(),
    };
    device.client.cycle().delete_record(request).await.unwrap();
}

/// Stores `count` records of a device by SQL, each with a payload of `size` times 32 bytes.
async fn store_many(stack: &Stack, device: &Device, count: usize, size: usize) {
    let (person, device) = (device.person.id, device.id);
    let sql = format!(
        "WITH counter AS (
            UPDATE data.change_counters SET last_number = last_number + {count}
            WHERE user_id = '{person}' RETURNING last_number - {count} AS before
        )
        INSERT INTO data.encrypted_cycle_data (user_id, id, encrypted_payload, envelope_version, algorithm, key_id,
            key_version, nonce, salt, kdf_memory_kib, kdf_iterations, kdf_parallelism, associated_data_version, version,
            device_id, local_timestamp, change_number, created_at, updated_at)
        SELECT '{person}', gen_random_uuid(),
            (SELECT string_agg(sha256(convert_to(i || '/' || j, 'UTF8')), '') FROM generate_series(1, {size}) AS j),
            1, 'aes_256_gcm', '{device}', 1, substr(sha256(convert_to(i::text, 'UTF8')), 1, 12), sha256('salt'), 19456, 2, 1,
            1, 1, '{device}', now(), counter.before + i, now(), now()
        FROM counter, generate_series(1, {count}) AS i"
    );
    execute(&stack.database, &sql).await;
}

/// Returns the change numbers of `entries`.
fn numbers(entries: &[FeedEntry]) -> Vec<i64> {
    entries.iter().map(|entry| entry.change_number).collect()
}

/// Returns the records among `entries`: id, version, and decrypted content, which is `None` for a tombstone.
fn contents(device: &Device, entries: &[FeedEntry]) -> Vec<(Uuid, i64, Option<String>)> {
    let records = entries.iter().filter_map(|entry| entry.record.as_ref());
    records
        .map(|record| {
            let live = record.delete_time.is_none();
            let content = live.then(|| device.open(record).unwrap());
            (record.record_id.parse().unwrap(), record.version, content)
        })
        .collect()
}

/// An open stream of WatchChanges.
struct Watcher {
    stream: Streaming<WatchChangesResponse>,
    has_begun: bool,
}

impl Watcher {
    /// Starts to watch after `cursor`.
    async fn start(device: &Device, cursor: &str) -> Result<Self, Status> {
        let request = WatchChangesRequest {
            device_id: device.id.to_string(),
            cursor: cursor.to_owned(),
        };
        let mut cycle = device.client.cycle();
        let answer = timeout(LIMIT, cycle.watch_changes(request)).await;
        let stream = answer.expect("the stream does not begin")?.into_inner();
        Ok(Self::new(stream))
    }

    fn new(stream: Streaming<WatchChangesResponse>) -> Self {
        let has_begun = false;
        Self { stream, has_begun }
    }

    /// Returns the next answer, or the status with which the stream ends. Later answers without entries, which an idle watch
    /// sends, are passed over.
    async fn next(&mut self) -> Result<(Vec<FeedEntry>, String), Status> {
        let limit = Instant::now() + LIMIT;
        loop {
            let next = timeout_at(limit, self.stream.message()).await;
            let next = next.expect("no answer in time")?;
            let WatchChangesResponse { entries, cursor } = next.expect("the stream ends without a status");
            let is_first = !std::mem::replace(&mut self.has_begun, true);
            if is_first || !entries.is_empty() {
                return Ok((entries, cursor));
            }
        }
    }

    /// Returns the status with which the stream ends. Fails when there is another answer before.
    async fn end(&mut self) -> Status {
        self.next().await.map(drop).expect_err("the stream goes on")
    }
}
