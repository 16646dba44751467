//! Offline changes: PushChanges, the conflicts that it keeps, and ResolveConflict.

mod calling_device;
mod concurrent_devices;
mod conflicts;
mod invalid_requests;
mod list_conflicts;
mod nonce_retention;
mod offline_devices;
mod push_changes;
mod push_changes_atomic;
mod repeated_deletions;
mod resolve_conflict;
mod retries;

use haven_proto::data::v1::{
    Change, ChangeOutcome, ChangeResult, Conflict, ConflictResolution, GetRecordRequest,
    ListConflictsRequest, PushChangesRequest, PushMode, Record, ResolveConflictRequest,
    ResolveConflictResponse,
};
use haven_testkit::random;
use tonic::Status;
use uuid::Uuid;

use crate::{
    retry::retry_call,
    test_device::{Device, now},
};

/// Returns a request to push `changes` in the mode INDEPENDENT.
fn push_request(device: &Device, changes: Vec<Change>) -> PushChangesRequest {
    PushChangesRequest {
        device_id: device.id.to_string(),
        changes,
        mode: PushMode::Independent.into(),
        request_id: random::uuid().to_string(),
    }
}

/// Returns a request to push `changes` in the mode ATOMIC.
fn atomic_push_request(device: &Device, changes: Vec<Change>) -> PushChangesRequest {
    PushChangesRequest {
        mode: PushMode::Atomic.into(),
        ..push_request(device, changes)
    }
}

/// Calls PushChanges, retries the call when the answer allows a retry, and returns the results.
async fn send(device: &Device, request: PushChangesRequest) -> Result<Vec<ChangeResult>, Status> {
    let mut cycle = device.client.cycle();
    let answer = retry_call(request, async |request| cycle.push_changes(request).await).await?;
    Ok(answer.results)
}

/// Pushes `changes` in the mode INDEPENDENT, and returns their results.
async fn push(device: &Device, changes: Vec<Change>) -> Vec<ChangeResult> {
    send(device, push_request(device, changes)).await.unwrap()
}

/// Creates a record with the content "one", updates it to "two", and returns its id. The record then has version 2.
async fn two_versions(device: &Device) -> Uuid {
    let id = random::uuid();
    let changes = vec![
        device.put(id, 0, "one").unwrap(),
        device.put(id, 1, "two").unwrap(),
    ];
    push(device, changes).await;
    id
}

/// Returns the outcome and the version of each result.
fn outcomes(results: &[ChangeResult]) -> Vec<(ChangeOutcome, i64)> {
    results
        .iter()
        .map(|result| (result.outcome(), result.version))
        .collect()
}

/// Calls GetRecord, and retries the call when the answer allows a retry.
async fn get_record(device: &Device, id: Uuid) -> Result<Record, Status> {
    let request = GetRecordRequest {
        record_id: id.to_string(),
        device_id: String::new(),
    };
    let mut cycle = device.client.cycle();
    let answer = retry_call(request, async |request| cycle.get_record(request).await).await?;
    Ok(answer.record.unwrap())
}

/// Returns every open conflict of `record`, or of all records, from all pages.
async fn open_conflicts(device: &Device, record: Option<Uuid>) -> Vec<Conflict> {
    let mut request = ListConflictsRequest {
        record_id: record.map(|id| id.to_string()).unwrap_or_default(),
        ..ListConflictsRequest::default()
    };
    let (mut seen, mut cycle) = (Vec::new(), device.client.cycle());
    for _ in 0..100 {
        let page = retry_call(request.clone(), async |request| {
            cycle.list_conflicts(request).await
        });
        let page = page.await.unwrap();
        seen.extend(page.conflicts);
        if page.next_page_token.is_empty() {
            return seen;
        }
        request.page_token = page.next_page_token;
    }
    panic!("there are too many pages");
}

/// Decrypts the content of a conflict; `None` when it is a deletion.
fn decrypt_conflict(device: &Device, conflict: &Conflict) -> Option<String> {
    let envelope = conflict.crypto_envelope.as_ref()?;
    let binding = device.binding(conflict.record_id.parse().unwrap(), conflict.base_version + 1);
    let content = device.secret.open(&conflict.encrypted_payload, envelope, binding);
    Some(String::from_utf8(content.unwrap()).unwrap())
}

/// Returns a request to settle `conflicts` without new content: with KEEP or DELETE.
fn settle_request(
    device: &Device,
    record: Uuid,
    seen: i64,
    conflicts: &[&str],
    resolution: ConflictResolution,
) -> ResolveConflictRequest {
    ResolveConflictRequest {
        device_id: device.id.to_string(),
        record_id: record.to_string(),
        expected_version: seen,
        conflict_ids: conflicts.iter().map(|id| (*id).to_owned()).collect(),
        resolution: resolution.into(),
        request_id: random::uuid().to_string(),
        ..ResolveConflictRequest::default()
    }
}

/// Returns a request to settle `conflicts` by storing `content` as the next version.
fn replace_request(
    device: &Device,
    record: Uuid,
    seen: i64,
    conflicts: &[&str],
    content: &str,
) -> ResolveConflictRequest {
    let (encrypted_payload, envelope) = device.seal(content, record, seen + 1).unwrap();
    ResolveConflictRequest {
        encrypted_payload,
        crypto_envelope: Some(envelope),
        local_time: Some(now()),
        ..settle_request(device, record, seen, conflicts, ConflictResolution::Replace)
    }
}

/// Calls ResolveConflict, and retries the call when the answer allows a retry.
async fn resolve(
    device: &Device,
    request: ResolveConflictRequest,
) -> Result<ResolveConflictResponse, Status> {
    let mut cycle = device.client.cycle();
    retry_call(request, async |request| cycle.resolve_conflict(request).await).await
}
