//! Changing a record, and deleting one: what somebody sends for it, parsed, and what is answered.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::Call,
    failure::{Failure, Violation},
    mac::MacKey,
    violations::Violations,
};
use haven_proto::data::v1::{
    DeleteRecordRequest, DeleteRecordResponse, UpdateRecordRequest, UpdateRecordResponse,
};

use super::{
    EncryptedRpc,
    envelope::{self, MOST_BYTES, PayloadPath},
    local_time,
    message::version_message,
    notice::Noticed,
};
use crate::store::{
    encrypted::cycle::change_record::{RecordChange, RecordContent},
    request::RequestKey,
};

impl EncryptedRpc {
    pub(super) async fn update_record_of(
        &self,
        call: &Call,
        request: UpdateRecordRequest,
    ) -> Result<Noticed<UpdateRecordResponse>, Failure> {
        let owner = call.user()?;
        let (change, request) = update(request, &self.requests, self.clock.now())?;
        let updated = self
            .records
            .update(owner, call.deadline, &change, request)
            .await?;
        if updated.now {
            self.changed.of(owner).notify();
        }
        Ok(Noticed {
            answer: UpdateRecordResponse {
                record: Some(version_message(updated.version)),
            },
            next_rotation_at: updated.next_rotation_at,
        })
    }

    pub(super) async fn delete_record_of(
        &self,
        call: &Call,
        request: DeleteRecordRequest,
    ) -> Result<Noticed<DeleteRecordResponse>, Failure> {
        let owner = call.user()?;
        let (change, request) = deletion(request, &self.requests, self.clock.now())?;
        let deleted = self
            .records
            .delete(owner, call.deadline, &change, request)
            .await?;
        if deleted.now {
            self.changed.of(owner).notify();
        }
        Ok(Noticed {
            answer: DeleteRecordResponse {
                record: Some(version_message(deleted.version)),
            },
            next_rotation_at: deleted.next_rotation_at,
        })
    }
}

fn update(
    mut sent: UpdateRecordRequest,
    requests: &MacKey,
    now: DateTime<Utc>,
) -> Result<(RecordChange, RequestKey), Failure> {
    let mut violations = Violations::new();
    let request = RequestKey::take(
        "UpdateRecord",
        &mut sent,
        |sent| &mut sent.request_id,
        requests,
        &mut violations,
    );
    let device = violations.uuid("device_id", &sent.device_id);
    let record = violations.uuid("record_id", &sent.record_id);
    seen(sent.expected_version, &mut violations);
    let place = PayloadPath {
        within: "",
        payload: "encrypted_payload",
        most: MOST_BYTES,
        device: Some(device),
    };
    let encrypted = envelope::encrypted(
        sent.encrypted_payload,
        sent.crypto_envelope,
        &place,
        &mut violations,
    );
    let local_time = local_time::required("local_time", sent.local_time.as_ref(), &mut violations);
    let content = encrypted.zip(local_time);
    let (encrypted, local_time) = envelope::finish(violations, content)?;
    let change = RecordChange {
        device,
        record,
        expected_version: sent.expected_version,
        content: Some(RecordContent {
            encrypted,
            local_time,
        }),
        at: now,
    };
    Ok((change, request))
}

fn deletion(
    mut sent: DeleteRecordRequest,
    requests: &MacKey,
    now: DateTime<Utc>,
) -> Result<(RecordChange, RequestKey), Failure> {
    let mut violations = Violations::new();
    let request = RequestKey::take(
        "DeleteRecord",
        &mut sent,
        |sent| &mut sent.request_id,
        requests,
        &mut violations,
    );
    let device = violations.uuid("device_id", &sent.device_id);
    let record = violations.uuid("record_id", &sent.record_id);
    seen(sent.expected_version, &mut violations);
    violations.check()?;
    let change = RecordChange {
        device,
        record,
        expected_version: sent.expected_version,
        content: None,
        at: now,
    };
    Ok((change, request))
}

/// The version that a change is based on.
fn seen(expected_version: i64, violations: &mut Violations) {
    if expected_version < 1 {
        let description = "The version that the change is based on is required, 1 or more";
        violations.add(Violation::new("expected_version", "REQUIRED", description));
    }
}

#[cfg(test)]
mod tests;
