//! Pulls and acknowledgements of a simulated device.

use haven_proto::data::v1::{AcknowledgeChangesRequest, PullChangesRequest, PullChangesResponse};
use tonic::{Status, Streaming};

use super::simulated_device::Simulated;
use crate::{
    cycle::changes::{decrypt_conflict, retry_call},
    status::{metadata, reason},
};

impl Simulated {
    /// Pulls the changes of others. Where its cursor expired, it starts over: a record that is not delivered then is
    /// deleted.
    pub(super) async fn pull(&mut self) {
        if self.suspended {
            return;
        }
        let mut stream = match self.begin_to_pull().await {
            Err(status) => {
                assert_eq!(reason(&status), "CURSOR_EXPIRED");
                assert_eq!(metadata(&status, "cause"), "PURGED");
                self.cursor.clear();
                self.begin_to_pull().await.unwrap()
            }
            begun => begun.unwrap(),
        };
        // Records are cleared on the first pull too: a record that the device pushed before may be deleted and purged
        // since.
        if self.cursor.is_empty() {
            self.records.clear();
        }
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
                    let state = (conflict.base_version, decrypt_conflict(&self.device, &conflict));
                    match conflict.settle_time {
                        None => held.conflicts.insert(conflict.conflict_id, state),
                        Some(_) => held.conflicts.remove(&conflict.conflict_id),
                    };
                }
            }
            self.cursor = answer.cursor;
        }
    }

    /// Calls PullChanges from the stored cursor.
    async fn begin_to_pull(&self) -> Result<Streaming<PullChangesResponse>, Status> {
        let request = PullChangesRequest {
            device_id: self.device.id.to_string(),
            cursor: self.cursor.clone(),
        };
        let mut cycle = self.device.client.cycle();
        retry_call(request, async |request| cycle.pull_changes(request).await).await
    }

    /// Acknowledges all pulled changes. The service purges changes that every device has acknowledged.
    pub(super) async fn acknowledge(&self) {
        if self.suspended || self.cursor.is_empty() {
            return;
        }
        let request = AcknowledgeChangesRequest {
            device_id: self.device.id.to_string(),
            cursor: self.cursor.clone(),
        };
        let mut cycle = self.device.client.cycle();
        let answer = retry_call(request, async |request| cycle.acknowledge_changes(request).await);
        answer.await.unwrap();
    }
}
