//! A device that is offline now and then, as a client is to be written: what it does waits until it is answered.

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
    How, Push, ROUNDS,
    ledger::{Held, Ledger},
};
use crate::{
    cycle::changes::{pushing, pushing_all, retry_call, send},
    test_device::Device,
};

/// A device, and what it knows.
pub(super) struct Simulated {
    pub(super) device: Device,
    /// What it was told.
    pub(super) records: HashMap<Uuid, Held>,
    /// Where it goes on to pull.
    pub(super) cursor: String,
    /// What it did, and does not know to be answered.
    pub(super) outbox: Vec<Pending>,
    /// What it pushed, and has heard nothing of.
    unheard: Option<PushChangesRequest>,
    /// How it settled conflicts, and has heard nothing of it.
    pub(super) unheard_settlement: Option<(ResolveConflictRequest, How, String)>,
    /// Whether it has another key than in the beginning.
    pub(super) rotated: bool,
    /// Whether it is suspended, which it does not know: until it gets a new key it reaches nobody.
    pub(super) suspended: bool,
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
            suspended: false,
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

    /// Pushes, and hears what becomes of it.
    pub(super) async fn push(&mut self, push: Push, ledger: &mut Ledger) {
        let sent = self.send(push).await;
        self.hear(sent, push, ledger).await;
    }

    /// Pushes. None: there is nothing to push.
    pub(super) async fn send(&self, push: Push) -> Option<Sent> {
        let changes = || self.outbox.iter().map(|pending| pending.sealed.clone()).collect();
        let request = match &self.unheard {
            _ if self.suspended => return None,
            Some(request) if push.again => request.clone(),
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
        if self.suspended {
            self.rotate().await;
        }
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

    /// The person suspends it: nobody waits for it any more.
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

    /// It gets a new key, and is active again if it was not.
    pub(super) async fn rotate(&mut self) {
        let request = RotateDeviceKeyRequest {
            device_id: self.device.id.to_string(),
            expected_key_version: self.device.key_version,
            encrypted_master_key: self.device.secret.wrapped().unwrap(),
            key_derivation_path: "m/44'/0'/2'".into(),
            request_id: random::uuid().to_string(),
        };
        let mut devices = self.device.client.device();
        let answer = retry_call(request, async |request| devices.rotate_device_key(request).await);
        self.device.key_version = answer.await.unwrap().device.unwrap().key_version;
        (self.rotated, self.suspended) = (true, false);
    }
}
