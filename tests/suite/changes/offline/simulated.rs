//! A device that is offline now and then, as a client is to be written: what it does waits until it is answered.

use std::collections::{HashMap, HashSet};

use haven_proto::{
    data::v1::{
        Change, ChangeKind, ChangeOutcome, ChangeResult, PullChangesRequest, PushChangesRequest, PushMode,
        ResolveConflictRequest, RotateDeviceKeyRequest,
    },
    errors::v1::Reason,
};
use haven_testkit::random;
use uuid::Uuid;

use super::{
    How, Push, ROUNDS,
    ledger::{Held, Ledger},
};
use crate::{
    changes::{opened, persist, pushing, pushing_all, send},
    device::Device,
};

/// A device, and what it knows.
pub(super) struct Simulated {
    pub(super) device: Device,
    /// What it was told.
    pub(super) records: HashMap<Uuid, Held>,
    /// Where it goes on to pull.
    cursor: String,
    /// What it did, and does not know to be answered.
    pub(super) outbox: Vec<Pending>,
    /// What it pushed, and has heard nothing of.
    unheard: Option<PushChangesRequest>,
    /// How it settled conflicts, and has heard nothing of it.
    pub(super) unheard_settlement: Option<(ResolveConflictRequest, How, String)>,
    /// It gets a new key once: what it tries again for longer than that is not known any more.
    pub(super) rotated: bool,
}

/// A change that is not answered.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    /// Which one.
    pub(super) made: usize,
    /// The record.
    pub(super) record: Uuid,
    /// The version that it is based on.
    pub(super) base: i64,
    /// What the record said to whoever made it.
    pub(super) over: Option<String>,
    /// What the record is to say. None: it is deleted.
    pub(super) content: Option<String>,
    sealed: Change,
}

/// A push that was answered, and maybe not heard.
pub(super) struct Sent {
    request: PushChangesRequest,
    results: Vec<ChangeResult>,
}

impl Simulated {
    pub(super) fn new(device: Device) -> Self {
        Self {
            device,
            records: HashMap::new(),
            cursor: String::new(),
            outbox: Vec::new(),
            unheard: None,
            unheard_settlement: None,
            rotated: false,
        }
    }

    /// What it knows of each record.
    pub(super) fn known(&self) -> HashMap<Uuid, Held> {
        self.records.clone()
    }

    /// The record as the person sees it on this device: its version, and what it says.
    fn shown(&self, record: Uuid) -> (i64, Option<&str>) {
        if let Some(last) = self.outbox.iter().rfind(|pending| pending.record == record) {
            return (last.base + 1, last.content.as_deref());
        }
        let held = self.records.get(&record);
        held.map_or((0, None), |held| (held.version, held.content.as_deref()))
    }

    pub(super) fn put(&mut self, record: Uuid, ledger: &mut Ledger) {
        let made = ledger.make();
        let content = format!("change {made} of device {}", self.device.id);
        self.make(made, record, Some(content));
    }

    pub(super) fn delete(&mut self, record: Uuid, ledger: &mut Ledger) {
        if self.shown(record).1.is_some() {
            self.make(ledger.make(), record, None);
        }
    }

    fn make(&mut self, made: usize, record: Uuid, content: Option<String>) {
        let (base, over) = self.shown(record);
        let over = over.map(str::to_owned);
        self.outbox.push(Pending {
            made,
            record,
            base,
            over,
            sealed: self.sealed(record, base, content.as_deref()),
            content,
        });
    }

    fn sealed(&self, record: Uuid, base: i64, content: Option<&str>) -> Change {
        match content {
            Some(content) => self.device.put(record, base, content).unwrap(),
            None => self.device.delete(record, base),
        }
    }

    pub(super) async fn push(&mut self, push: Push, ledger: &mut Ledger) {
        let sent = self.send(push).await;
        self.hear(sent, push, ledger).await;
    }

    /// Pushes. None: there is nothing to push.
    pub(super) async fn send(&self, push: Push) -> Option<Sent> {
        let changes = || self.outbox.iter().map(|pending| pending.sealed.clone()).collect();
        // A deletion has no nonce to be known by, but its request is known.
        let deletes = |request: &PushChangesRequest| {
            let mut kinds = request.changes.iter().map(Change::kind);
            kinds.any(|kind| kind == ChangeKind::Delete)
        };
        let request = match &self.unheard {
            Some(request) if push.again || deletes(request) => request.clone(),
            _ if self.outbox.is_empty() => return None,
            _ if push.atomic => pushing_all(&self.device, changes()),
            _ => pushing(&self.device, changes()),
        };
        let results = send(&self.device, request.clone()).await.unwrap();
        assert_eq!(results.len(), request.changes.len());
        Some(Sent { request, results })
    }

    /// Hears the answer, if it comes through. What it pushed is at the head of what is not answered.
    pub(super) async fn hear(&mut self, sent: Option<Sent>, push: Push, ledger: &mut Ledger) {
        let Some(Sent { request, results }) = sent else {
            return;
        };
        ledger.push(&self.outbox, &request, &results);
        if !push.heard {
            self.unheard = Some(request);
            return;
        }
        self.unheard = None;
        let waiting = self.outbox.split_off(results.len());
        let answered = std::mem::take(&mut self.outbox);
        // What is based on a change that lost is based on nothing that there is, whatever version it has counted up to.
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
                    // What is refused because what it is based on is refused comes again after that.
                    let fits = outcome != ChangeOutcome::Refused || stale || refused == Reason::NotFound;
                    assert!(fits, "{pending:?} {refused:?}");
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

    /// Pushes until there is nothing left.
    pub(super) async fn flush(&mut self, ledger: &mut Ledger) {
        for _ in 0..ROUNDS {
            let push = Push {
                atomic: false,
                again: false,
                heard: true,
            };
            self.push(push, ledger).await;
        }
        assert!(self.outbox.is_empty(), "it does not get rid of {:?}", self.outbox);
        if let Some((request, how, content)) = self.unheard_settlement.take() {
            self.settle_with(request, how, content, true, ledger).await;
        }
    }

    /// Learns what others did.
    pub(super) async fn pull(&mut self) {
        let request = PullChangesRequest {
            device_id: self.device.id.to_string(),
            cursor: self.cursor.clone(),
        };
        let mut cycle = self.device.client.cycle();
        let answer = persist(request, async |request| cycle.pull_changes(request).await);
        let mut stream = answer.await.unwrap();
        while let Some(answer) = stream.message().await.unwrap() {
            for entry in answer.entries {
                if let Some(record) = entry.record {
                    let held = self.records.entry(record.record_id.parse().unwrap()).or_default();
                    held.version = record.version;
                    let live = record.delete_time.is_none();
                    held.content = live.then(|| self.device.open(&record).unwrap());
                }
                if let Some(conflict) = entry.conflict {
                    let held = self
                        .records
                        .entry(conflict.record_id.parse().unwrap())
                        .or_default();
                    let said = (conflict.base_version, opened(&self.device, &conflict));
                    match conflict.settle_time {
                        None => held.conflicts.insert(conflict.conflict_id, said),
                        Some(_) => held.conflicts.remove(&conflict.conflict_id),
                    };
                }
            }
            self.cursor = answer.cursor;
        }
    }

    pub(super) async fn rotate(&mut self) {
        if std::mem::replace(&mut self.rotated, true) {
            return;
        }
        let request = RotateDeviceKeyRequest {
            device_id: self.device.id.to_string(),
            expected_key_version: self.device.key_version,
            encrypted_master_key: self.device.secret.wrapped().unwrap(),
            key_derivation_path: "m/44'/0'/2'".into(),
            request_id: random::uuid().to_string(),
        };
        let mut devices = self.device.client.device();
        let answer = persist(request, async |request| devices.rotate_device_key(request).await);
        self.device.key_version = answer.await.unwrap().device.unwrap().key_version;
    }
}
