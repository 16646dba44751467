//! The settling of conflicts by a simulated device.

use haven_proto::data::v1::{ConflictResolution, ResolveConflictRequest};
use uuid::Uuid;

use super::{Resolution, Settle, ledger::Ledger, simulated_device::Simulated};
use crate::{
    cycle::changes::{replace_request, resolve, settle_request},
    status::reason,
};

impl Simulated {
    /// Settles some of the conflicts that it knows of a record, or repeats a resolution that had no answer.
    pub(super) async fn settle(&mut self, record: Uuid, settle: Settle, ledger: &mut Ledger) {
        if self.suspended {
            return;
        }
        if let Some((request, resolution, content)) = self.unanswered_settlement.take() {
            return self
                .settle_with(request, resolution, content, settle.answered, ledger)
                .await;
        }
        let Some(held) = self.records.get(&record) else {
            return;
        };
        let known = held.conflicts.keys().enumerate();
        let chosen = known.filter(|(index, _)| settle.mask >> (index % 8) & 1 == 1);
        let chosen: Vec<_> = chosen.map(|(_, id)| id.as_str()).collect();
        // A device with own changes of the record waits for their results first.
        if chosen.is_empty() || self.outbox.iter().any(|pending| pending.record == record) {
            return;
        }
        let content = format!("{} in one, by device {}", chosen.len() + 1, self.device.id);
        let (device, seen) = (&self.device, held.version);
        let request = match settle.resolution {
            Resolution::Keep => settle_request(device, record, seen, &chosen, ConflictResolution::Keep),
            Resolution::Delete => settle_request(device, record, seen, &chosen, ConflictResolution::Delete),
            Resolution::Replace => replace_request(device, record, seen, &chosen, &content),
        };
        self.settle_with(request, settle.resolution, content, settle.answered, ledger)
            .await;
    }

    /// Sends a resolution. `answered` says whether the answer reaches the device.
    pub(super) async fn settle_with(
        &mut self,
        request: ResolveConflictRequest,
        resolution: Resolution,
        content: String,
        answered: bool,
        ledger: &mut Ledger,
    ) {
        match resolve(&self.device, request.clone()).await {
            Ok(answer) => {
                let changed = answer.record.as_ref().unwrap().version > request.expected_version;
                let content = match resolution {
                    Resolution::Replace => Some(Some(content.clone())),
                    Resolution::Delete if changed => Some(None),
                    Resolution::Delete | Resolution::Keep => None,
                };
                ledger.settle(&request, &answer, content);
            }
            // Another device was faster.
            Err(status) => {
                let reason = reason(&status);
                let stale = reason == "KEY_VERSION_STALE" && self.rotated;
                assert!(
                    stale || ["VERSION_CONFLICT", "NOT_FOUND"].contains(&reason.as_str()),
                    "{reason}"
                );
            }
        }
        if answered {
            self.pull().await;
        } else {
            self.unanswered_settlement = Some((request, resolution, content));
        }
    }

    /// Settles all conflicts that the device knows of a record.
    pub(super) async fn settle_all(&mut self, record: Uuid, ledger: &mut Ledger) {
        let all = Settle {
            mask: u8::MAX,
            resolution: Resolution::Replace,
            answered: true,
        };
        self.settle(record, all, ledger).await;
    }
}
