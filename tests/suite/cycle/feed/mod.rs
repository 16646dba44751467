//! The feed of a person's changes: what devices pull and watch, what they acknowledge, and what is forgotten then.

mod acknowledge_changes;
mod concurrent_writers;
mod cursors;
mod pull_changes;
mod pull_changes_batches;
mod purged_records;
mod restore;
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
use tokio::time::timeout;
use tonic::{Status, Streaming};
use uuid::Uuid;

use crate::{retry::retry, superuser_sql::execute, test_device::Device};

/// Longer than anything takes that is waited for, also on a machine that is busy with other tests.
const LIMIT: Duration = Duration::from_secs(30);

/// More answers than any pull of a test has.
const MOST_ANSWERS: usize = 1000;

/// Without a cursor there is everything.
const BEGINNING: &str = "";

/// Everything that a device pulls after `cursor`: the answers, of which there is at least one.
async fn answers(device: &Device, cursor: &str) -> Result<Vec<PullChangesResponse>, Status> {
    retry(async || try_answers(device, cursor).await).await
}

async fn try_answers(device: &Device, cursor: &str) -> Result<Vec<PullChangesResponse>, Status> {
    let request = PullChangesRequest {
        device_id: device.id.to_string(),
        cursor: cursor.to_owned(),
    };
    let mut cycle = device.client.cycle();
    let answer = timeout(LIMIT, cycle.pull_changes(request)).await;
    let mut stream = answer.expect("it begins")?.into_inner();
    let mut answers = Vec::new();
    while let Some(answer) = timeout(LIMIT, stream.message()).await.expect("it goes on")? {
        answers.push(answer);
        assert!(answers.len() < MOST_ANSWERS, "it goes on and on");
    }
    Ok(answers)
}

/// The same as one: the entries of all answers, and the last one's cursor.
async fn pull(device: &Device, cursor: &str) -> Result<(Vec<FeedEntry>, String), Status> {
    let answers = answers(device, cursor).await?;
    let cursor = answers.last().expect("an answer").cursor.clone();
    let entries = answers.into_iter().flat_map(|answer| answer.entries);
    Ok((entries.collect(), cursor))
}

/// Says that a device has dealt with everything up to `cursor`.
async fn acknowledge(device: &Device, cursor: &str) -> Result<AcknowledgeChangesResponse, Status> {
    let request = AcknowledgeChangesRequest {
        device_id: device.id.to_string(),
        cursor: cursor.to_owned(),
    };
    let answer = retry(async || {
        let mut cycle = device.client.cycle();
        let answer = timeout(LIMIT, cycle.acknowledge_changes(request.clone())).await;
        answer.expect("an answer")
    });
    Ok(answer.await?.into_inner())
}

/// Pulls and acknowledges. Answers the cursor.
pub(crate) async fn catch_up(device: &Device, cursor: &str) -> String {
    let (_, cursor) = pull(device, cursor).await.unwrap();
    acknowledge(device, &cursor).await.unwrap();
    cursor
}

/// A request to push `changes`, each on its own, of a device that has pulled up to `cursor`.
fn pushing(device: &Device, changes: Vec<Change>) -> PushChangesRequest {
    PushChangesRequest {
        device_id: device.id.to_string(),
        changes,
        mode: PushMode::Independent.into(),
        request_id: random::uuid().to_string(),
    }
}

/// What becomes of `changes`.
async fn push(device: &Device, changes: Vec<Change>) -> Result<Vec<ChangeResult>, Status> {
    let request = pushing(device, changes);
    let answer = retry(async || device.client.cycle().push_changes(request.clone()).await);
    Ok(answer.await?.into_inner().results)
}

/// Stores `content` as a new record. Answers its id.
async fn create(device: &Device, content: &str) -> Uuid {
    let record = random::uuid();
    let request = device.create(record, content).unwrap();
    device.client.cycle().create_record(request).await.unwrap();
    record
}

/// Stores `content` over a version of a record.
async fn update(device: &Device, record: Uuid, seen: i64, content: &str) {
    let request = device.update(record, seen, content).unwrap();
    device.client.cycle().update_record(request).await.unwrap();
}

/// Deletes a record over a version.
async fn delete(device: &Device, record: Uuid, seen: i64) {
    let request = haven_proto::data::v1::DeleteRecordRequest {
        device_id: device.id.to_string(),
        record_id: record.to_string(),
        expected_version: seen,
        request_id: random::uuid().to_string(),
    };
    device.client.cycle().delete_record(request).await.unwrap();
}

/// Stores `count` records of a device at once, each with a payload of so many times 32 bytes.
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

/// The numbers of changes.
fn numbers(entries: &[FeedEntry]) -> Vec<i64> {
    entries.iter().map(|entry| entry.change_number).collect()
}

/// The records among the entries: each with its version, and with what is in it, as a device opens it.
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

/// A device that watches.
struct Watcher(Streaming<WatchChangesResponse>);

impl Watcher {
    /// Begins to watch after `cursor`.
    async fn start(device: &Device, cursor: &str) -> Result<Self, Status> {
        let request = WatchChangesRequest {
            device_id: device.id.to_string(),
            cursor: cursor.to_owned(),
        };
        let mut cycle = device.client.cycle();
        let answer = timeout(LIMIT, cycle.watch_changes(request)).await;
        Ok(Self(answer.expect("it begins")?.into_inner()))
    }

    /// The next answer, or how the stream ends.
    async fn next(&mut self) -> Result<(Vec<FeedEntry>, String), Status> {
        let next = timeout(LIMIT, self.0.message()).await;
        let next = next.expect("an answer or an end")?;
        let WatchChangesResponse { entries, cursor } = next.expect("it ends with a status");
        Ok((entries, cursor))
    }

    /// How the stream ends, with nothing before.
    async fn end(&mut self) -> Status {
        self.next().await.map(drop).expect_err("it ends")
    }
}
