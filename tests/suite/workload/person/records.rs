//! Cycle records, their conflicts, and their synchronization.

use haven_proto::data::v1::{
    AcknowledgeChangesRequest, Change, ChangeOutcome, ConflictResolution, DeleteRecordRequest,
    GetRecordRequest, PullChangesRequest, PushChangesRequest, PushChangesResponse, PushMode, Record,
    ResolveConflictRequest,
};
use haven_testkit::random;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Done, Failure, Kind, Mutation, Person, any, request_id};
use crate::{
    test_device::now,
    workload::{content, fingerprint, journal},
};

/// The number of times that a device starts over for one call.
const RESYNCS: usize = 5;

impl Person<'_> {
    /// Calls a mutation of encrypted content. When the database has another history than the device, as after a restore or a
    /// failover, the device pulls everything, acknowledges it, and repeats the call.
    pub(super) async fn call_as_device<T: Clone, A>(
        &self,
        rpc: &'static str,
        request_id: &str,
        changes: Vec<journal::Change>,
        request: T,
        mut send: impl AsyncFnMut(Request<T>) -> Result<Response<A>, Status>,
    ) -> Result<A, Failure> {
        for _ in 0..RESYNCS {
            let mutation = Mutation::new(rpc, request_id, changes.clone());
            match self.caller.call(mutation, request.clone(), &mut send).await {
                Err(Failure::Refused(reason)) if reason == "CURSOR_EXPIRED" => self.pull_changes().await?,
                outcome => return outcome,
            }
        }
        Err(Failure::Unknown)
    }

    pub(super) async fn create_record(&mut self) -> Done {
        let record = random::uuid();
        let request = self.device.create(record, &content(self.name, record)).unwrap();
        let print = fingerprint(&request.encrypted_payload);
        let id = request.request_id.clone();
        let changes = vec![self.object(Kind::Record, record).becomes(1, &print)];
        let mut service = self.device.client.cycle();
        self.call_as_device("CreateRecord", &id, changes, request, async |request| {
            service.create_record(request).await
        })
        .await?;
        self.records.insert(record, (1, print));
        Ok(())
    }

    pub(super) async fn update_record(&mut self) -> Done {
        let Some(record) = any(&self.records) else {
            return self.create_record().await;
        };
        let seen = self.records[&record].0;
        let request = self
            .device
            .update(record, seen, &content(self.name, record))
            .unwrap();
        let print = fingerprint(&request.encrypted_payload);
        let id = request.request_id.clone();
        let changes = vec![self.object(Kind::Record, record).becomes(seen + 1, &print)];
        let mut service = self.device.client.cycle();
        self.call_as_device("UpdateRecord", &id, changes, request, async |request| {
            service.update_record(request).await
        })
        .await?;
        self.records.insert(record, (seen + 1, print));
        Ok(())
    }

    pub(super) async fn delete_record(&mut self) -> Done {
        let Some(record) = any(&self.records) else {
            return self.create_record().await;
        };
        let request = DeleteRecordRequest {
            device_id: self.device.id.to_string(),
            record_id: record.to_string(),
            expected_version: self.records[&record].0,
            request_id: request_id(),
        };
        let id = request.request_id.clone();
        let changes = vec![self.object(Kind::Record, record).goes()];
        let mut service = self.device.client.cycle();
        self.call_as_device("DeleteRecord", &id, changes, request, async |request| {
            service.delete_record(request).await
        })
        .await?;
        self.records.remove(&record);
        Ok(())
    }

    /// Pushes two new records.
    pub(super) async fn push_changes(&mut self) -> Done {
        let new = [random::uuid(), random::uuid()];
        let puts = new.map(|record| self.device.put(record, 0, &content(self.name, record)).unwrap());
        let prints = [0, 1].map(|index| fingerprint(&puts[index].encrypted_payload));
        let changes = [0, 1].map(|index| self.object(Kind::Record, new[index]).becomes(1, &prints[index]));
        let answer = self.push(puts.to_vec(), changes.to_vec()).await?;
        for result in &answer.results {
            let own = new.map(|record| record.to_string()).contains(&result.record_id);
            self.assert_own("PushChanges", own && result.version == 1, &format!("{result:?}"));
        }
        self.records.extend(
            new.into_iter()
                .zip(prints)
                .map(|(record, print)| (record, (1, print))),
        );
        Ok(())
    }

    /// Pushes a change that is based on no version, which becomes a conflict, and resolves it.
    pub(super) async fn dispute_record(&mut self) -> Done {
        let Some(record) = any(&self.records) else {
            return self.create_record().await;
        };
        let change = self.device.put(record, 0, &content(self.name, record)).unwrap();
        let print = fingerprint(&change.encrypted_payload);
        let conflict = self.object(Kind::Conflict, &print);
        let changes = vec![conflict.clone().becomes(0, &print)];
        let answer = self.push(vec![change], changes).await?;
        let result = answer.results.into_iter().next().unwrap_or_default();
        let is_conflict = result.outcome() == ChangeOutcome::Conflict;
        self.assert_current("PushChanges", is_conflict, &format!("{result:?}"));
        let seen = self.records[&record].0;
        let (encrypted_payload, envelope) = self
            .device
            .seal(&content(self.name, record), record, seen + 1)
            .unwrap();
        let print = fingerprint(&encrypted_payload);
        let request = ResolveConflictRequest {
            device_id: self.device.id.to_string(),
            record_id: record.to_string(),
            expected_version: seen,
            conflict_ids: vec![result.conflict_id],
            resolution: ConflictResolution::Replace.into(),
            encrypted_payload,
            crypto_envelope: Some(envelope),
            local_time: Some(now()),
            request_id: request_id(),
        };
        let id = request.request_id.clone();
        let changes = vec![
            self.object(Kind::Record, record).becomes(seen + 1, &print),
            conflict.goes(),
        ];
        let mut service = self.device.client.cycle();
        self.call_as_device("ResolveConflict", &id, changes, request, async |request| {
            service.resolve_conflict(request).await
        })
        .await?;
        self.records.insert(record, (seen + 1, print));
        Ok(())
    }

    async fn push(
        &self,
        changes: Vec<Change>,
        effects: Vec<journal::Change>,
    ) -> Result<PushChangesResponse, Failure> {
        let request = PushChangesRequest {
            device_id: self.device.id.to_string(),
            changes,
            mode: PushMode::Independent.into(),
            request_id: request_id(),
        };
        let id = request.request_id.clone();
        let mut service = self.device.client.cycle();
        self.call_as_device("PushChanges", &id, effects, request, async |request| {
            service.push_changes(request).await
        })
        .await
    }

    /// Pulls all changes, and acknowledges them.
    pub(super) async fn pull_changes(&self) -> Done {
        let request = PullChangesRequest {
            device_id: self.device.id.to_string(),
            cursor: String::new(),
        };
        let mut service = self.device.client.cycle();
        let pulled = self
            .caller
            .read(request, async |request| {
                let mut pages = service.pull_changes(request).await?.into_inner();
                let (mut records, mut cursor) = (Vec::new(), String::new());
                while let Some(page) = pages.message().await? {
                    records.extend(page.entries.into_iter().filter_map(|entry| entry.record));
                    cursor = page.cursor;
                }
                Ok(Response::new((records, cursor)))
            })
            .await;
        let Some((records, cursor)) = pulled else {
            return Ok(());
        };
        for record in records.iter().filter(|record| record.delete_time.is_none()) {
            self.assert_record("PullChanges", record);
        }
        let request = AcknowledgeChangesRequest {
            device_id: self.device.id.to_string(),
            cursor,
        };
        let mutation = Mutation::new("AcknowledgeChanges", "", Vec::new());
        let acknowledged = self
            .caller
            .call(mutation, request, async |request| {
                service.acknowledge_changes(request).await
            })
            .await;
        match acknowledged {
            // The history changed since the pull.
            Err(Failure::Refused(reason)) if reason == "CURSOR_EXPIRED" => Ok(()),
            outcome => outcome.map(drop),
        }
    }

    pub(super) async fn read_record(&mut self) -> Done {
        let Some(record) = any(&self.records) else {
            return self.create_record().await;
        };
        let request = GetRecordRequest {
            record_id: record.to_string(),
            device_id: self.device.id.to_string(),
        };
        let mut service = self.device.client.cycle();
        let read = self
            .caller
            .read(request, async |request| service.get_record(request).await)
            .await;
        if let Some(record) = read.and_then(|answer| answer.record) {
            self.assert_record("GetRecord", &record);
        }
        Ok(())
    }

    /// Decrypts a record, which works for those of this person alone.
    fn assert_record(&self, rpc: &str, record: &Record) {
        let own = self
            .device
            .open(record)
            .is_ok_and(|content| content.starts_with(&self.name.to_string()));
        self.assert_own(rpc, own, &record.record_id);
        let known = record
            .record_id
            .parse::<Uuid>()
            .ok()
            .and_then(|id| self.records.get(&id));
        let found = (record.version, fingerprint(&record.encrypted_payload));
        let current = known.is_some_and(|known| *known == found);
        self.assert_current(
            rpc,
            current,
            &format!("{} at version {}", record.record_id, found.0),
        );
    }
}
