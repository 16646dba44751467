//! A simulated device, written as a client should be: it keeps a change until the change is answered.

use std::collections::{HashMap, HashSet};

use haven_proto::{
    data::v1::{
        Change, ChangeOutcome, ChangeResult, PushChangesRequest, PushMode, ResolveConflictRequest,
        RotateDeviceKeyRequest, SuspendDeviceRequest,
    },
    errors::v1::Reason,
};
use haven_testkit::random;
use uuid::Uuid;

use super::{
    MAX_PUSHES, Push, Resolution,
    ledger::{Ledger, RecordState},
};
use crate::{
    cycle::changes::{atomic_push_request, push_request, retry_call, send},
    test_device::Device,
};

/// A device and its local state.
pub(super) struct Simulated {
    /// The device that makes the calls.
    pub(super) device: Device,
    /// The records as the service delivered them.
    pub(super) records: HashMap<Uuid, RecordState>,
    /// The cursor of the last pull.
    pub(super) cursor: String,
    /// The changes that have no answer yet.
    pub(super) outbox: Vec<PendingChange>,
    /// The last push, if its answer did not arrive.
    unanswered_push: Option<PushChangesRequest>,
    /// The last resolution, if its answer did not arrive.
    pub(super) unanswered_settlement: Option<(ResolveConflictRequest, Resolution, String)>,
    /// Set once the key was rotated.
    pub(super) rotated: bool,
    /// Set while the device is suspended: until its key is rotated it makes no calls.
    pub(super) suspended: bool,
}

/// A change without an answer.
#[derive(Clone, Debug)]
pub(super) struct PendingChange {
    /// The change's id in the ledger.
    pub(super) id: usize,
    /// The id of the changed record.
    pub(super) record: Uuid,
    /// The record's version that the change is based on.
    pub(super) base: i64,
    /// The record's content before the change, as the device saw it.
    pub(super) content_before: Option<String>,
    /// The record's content after the change, or `None` when the change deletes it.
    pub(super) content: Option<String>,
    sealed: Change,
}

/// A push with its results, which may not reach the device.
pub(super) struct PushOutcome {
    request: PushChangesRequest,
    results: Vec<ChangeResult>,
}

impl Simulated {
    /// Returns a device that knows no records yet.
    pub(super) fn new(device: Device) -> Self {
        Self {
            device,
            records: HashMap::new(),
            cursor: String::new(),
            outbox: Vec::new(),
            unanswered_push: None,
            unanswered_settlement: None,
            rotated: false,
            suspended: false,
        }
    }

    /// Returns what the device knows of each record.
    pub(super) fn known(&self) -> HashMap<Uuid, RecordState> {
        self.records.clone()
    }

    /// Returns the record as the person sees it on this device: its version and its content.
    fn local_state(&self, record: Uuid) -> (i64, Option<&str>) {
        if let Some(last) = self.outbox.iter().rfind(|pending| pending.record == record) {
            return (last.base + 1, last.content.as_deref());
        }
        let held = self.records.get(&record);
        held.map_or((0, None), |held| (held.version, held.content.as_deref()))
    }

    /// Writes a record, offline.
    pub(super) fn put(&mut self, record: Uuid, ledger: &mut Ledger) {
        let id = ledger.add_change();
        let content = format!("change {id} of device {}", self.device.id);
        self.add_pending(id, record, Some(content));
    }

    /// Deletes a record, offline, if the device has it.
    pub(super) fn delete(&mut self, record: Uuid, ledger: &mut Ledger) {
        if self.local_state(record).1.is_some() {
            self.add_pending(ledger.add_change(), record, None);
        }
    }

    /// Adds a change to the outbox.
    fn add_pending(&mut self, id: usize, record: Uuid, content: Option<String>) {
        let (base, content_before) = self.local_state(record);
        let content_before = content_before.map(str::to_owned);
        self.outbox.push(PendingChange {
            id,
            record,
            base,
            content_before,
            sealed: self.sealed(record, base, content.as_deref()),
            content,
        });
    }

    /// Returns the change to send, with encrypted content.
    fn sealed(&self, record: Uuid, base: i64, content: Option<&str>) -> Change {
        match content {
            Some(content) => self.device.put(record, base, content).unwrap(),
            None => self.device.delete(record, base),
        }
    }

    /// Pushes, and handles the results.
    pub(super) async fn push(&mut self, push: Push, ledger: &mut Ledger) {
        let sent = self.send(push).await;
        self.handle_results(sent, push, ledger).await;
    }

    /// Pushes. Returns `None` when there is nothing to push.
    pub(super) async fn send(&self, push: Push) -> Option<PushOutcome> {
        let changes = || self.outbox.iter().map(|pending| pending.sealed.clone()).collect();
        let request = match &self.unanswered_push {
            _ if self.suspended => return None,
            Some(request) if push.repeat => request.clone(),
            _ if self.outbox.is_empty() => return None,
            _ if push.atomic => atomic_push_request(&self.device, changes()),
            _ => push_request(&self.device, changes()),
        };
        let results = send(&self.device, request.clone()).await.unwrap();
        assert_eq!(results.len(), request.changes.len());
        Some(PushOutcome { request, results })
    }

    /// Handles the results if they arrive. The pushed changes are the first ones of the outbox.
    pub(super) async fn handle_results(
        &mut self,
        sent: Option<PushOutcome>,
        push: Push,
        ledger: &mut Ledger,
    ) {
        let Some(PushOutcome { request, results }) = sent else {
            return;
        };
        ledger.push(&self.outbox, &request, &results);
        if !push.answered {
            self.unanswered_push = Some(request);
            return;
        }
        self.unanswered_push = None;
        let waiting = self.outbox.split_off(results.len());
        let answered = std::mem::take(&mut self.outbox);
        // A change based on one that lost has no valid base, even if a version of that number exists.
        let mut lost = HashSet::new();
        let waiting = waiting.into_iter().map(|pending| (pending, None));
        let answered = answered.into_iter().zip(results.into_iter().map(Some));
        for (mut pending, result) in answered.chain(waiting) {
            let follows = lost.contains(&pending.record);
            match result
                .as_ref()
                .map_or(ChangeOutcome::HeldBack, ChangeResult::outcome)
            {
                ChangeOutcome::Applied | ChangeOutcome::AlreadyApplied => {
                    let version = result.unwrap().version;
                    let held = self.records.entry(pending.record).or_default();
                    if held.version < version {
                        (held.version, held.content) = (version, pending.content);
                    }
                }
                ChangeOutcome::Conflict | ChangeOutcome::Deleted
                    if request.mode() == PushMode::Independent =>
                {
                    lost.insert(pending.record);
                }
                outcome => {
                    let refused = result.map_or(Reason::Unspecified, |result| result.reason());
                    let stale = refused == Reason::KeyVersionStale;
                    // A change that is refused because its base was refused is sent again after it.
                    let expected = outcome != ChangeOutcome::Refused || stale || refused == Reason::NotFound;
                    assert!(expected, "{pending:?} {refused:?}");
                    if follows && pending.content.is_none() {
                        ledger.withdraw(&pending);
                        continue;
                    }
                    if follows {
                        pending.base = 0;
                    }
                    if stale || follows {
                        let content = pending.content.as_deref();
                        pending.sealed = self.sealed(pending.record, pending.base, content);
                    }
                    self.outbox.push(pending);
                }
            }
        }
        if !lost.is_empty() {
            self.pull().await;
        }
    }

    /// Pushes until the outbox is empty.
    pub(super) async fn flush(&mut self, ledger: &mut Ledger) {
        if self.suspended {
            self.rotate().await;
        }
        for _ in 0..MAX_PUSHES {
            let push = Push {
                atomic: false,
                repeat: false,
                answered: true,
            };
            self.push(push, ledger).await;
        }
        assert!(
            self.outbox.is_empty(),
            "changes without an answer: {:?}",
            self.outbox
        );
        if let Some((request, resolution, content)) = self.unanswered_settlement.take() {
            self.settle_with(request, resolution, content, true, ledger).await;
        }
    }

    /// Suspends the device with a new request.
    pub(super) async fn suspend(&mut self) {
        let request = SuspendDeviceRequest {
            device_id: self.device.id.to_string(),
            request_id: random::uuid().to_string(),
        };
        let mut devices = self.device.client.device();
        let answer = retry_call(request, async |request| devices.suspend_device(request).await);
        answer.await.unwrap();
        self.suspended = true;
    }

    /// Rotates the key, which makes a suspended device active.
    pub(super) async fn rotate(&mut self) {
        let request = RotateDeviceKeyRequest {
            device_id: self.device.id.to_string(),
            expected_key_version: self.device.key_version,
            encrypted_master_key: self.device.secret.wrapped().unwrap(),
            key_derivation_path: "m/44'/0'/2'".into(),
            request_id: random::uuid().to_string(),
            encrypted_label: Vec::new(),
        };
        let mut devices = self.device.client.device();
        let answer = retry_call(request, async |request| devices.rotate_device_key(request).await);
        self.device.key_version = answer.await.unwrap().device.unwrap().key_version;
        (self.rotated, self.suspended) = (true, false);
    }
}
