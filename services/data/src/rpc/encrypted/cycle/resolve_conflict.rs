//! Settling conflicts: what a device sends for it, parsed, and what is answered.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use haven_platform::{
    call::Call,
    failure::{Failure, Violation},
    mac::MacKey,
    violations::Violations,
};
use haven_proto::data::v1::{ConflictResolution, ResolveConflictRequest, ResolveConflictResponse};
use uuid::Uuid;

use super::{
    EncryptedRpc,
    envelope::{self, MOST_BYTES, PayloadPath},
    local_time,
    message::version_message,
    notice::Noticed,
};
use crate::{
    domain::encrypted::change::Resolution,
    store::{encrypted::cycle::resolve_conflict::Settlement, request::RequestKey},
};

/// The most conflicts that are settled at once.
const MOST_CONFLICTS: usize = 100;

impl EncryptedRpc {
    pub(super) async fn resolve_conflict_of(
        &self,
        call: &Call,
        request: ResolveConflictRequest,
    ) -> Result<Noticed<ResolveConflictResponse>, Failure> {
        let caller = call.user()?;
        let (settlement, request) = parse(request, &self.requests, self.clock.now())?;
        let settled = self
            .changes
            .settle(caller, call.deadline, &settlement, request)
            .await?;
        if settled.now {
            self.changed.of(caller).notify();
        }
        Ok(Noticed {
            answer: ResolveConflictResponse {
                record: Some(version_message(settled.record)),
                open_conflicts: settled.open_conflicts,
            },
            next_rotation_at: settled.next_rotation_at,
        })
    }
}

fn parse(
    mut sent: ResolveConflictRequest,
    requests: &MacKey,
    now: DateTime<Utc>,
) -> Result<(Settlement, RequestKey), Failure> {
    let mut violations = Violations::new();
    let request = RequestKey::take(
        "ResolveConflict",
        &mut sent,
        |sent| &mut sent.request_id,
        requests,
        &mut violations,
    );
    let device = violations.uuid("device_id", &sent.device_id);
    let record_id = violations.uuid("record_id", &sent.record_id);
    if sent.expected_version < 1 {
        let description = "The version that the resolution is based on is required, 1 or more";
        violations.add(Violation::new("expected_version", "REQUIRED", description));
    }
    let expected_version = sent.expected_version;
    let conflicts = conflicts(&sent.conflict_ids, &mut violations);
    let resolution = resolution(sent, device, &mut violations);
    let settlement = Settlement {
        device,
        record_id,
        expected_version,
        conflicts,
        resolution: envelope::finish(violations, resolution)?,
        at: now,
    };
    Ok((settlement, request))
}

/// The conflicts that are settled. Where something is wrong with them, it is among `violations`.
fn conflicts(sent: &[String], violations: &mut Violations) -> Vec<Uuid> {
    match sent.len() {
        0 => {
            let description = "A conflict is required here";
            violations.add(Violation::new("conflict_ids", "REQUIRED", description));
        }
        1..=MOST_CONFLICTS => {}
        _ => {
            let description = "At most 100 conflicts are settled at once";
            violations.add(Violation::new("conflict_ids", "TOO_MANY", description));
            return Vec::new();
        }
    }
    let mut seen = HashSet::new();
    let mut conflicts = Vec::with_capacity(sent.len());
    for (place, id) in sent.iter().enumerate() {
        let field = format!("conflict_ids[{place}]");
        let id = violations.uuid(field.as_str(), id);
        if !id.is_nil() && !seen.insert(id) {
            let description = "A conflict is settled once";
            violations.add(Violation::new(field, "DUPLICATE", description));
        }
        conflicts.push(id);
    }
    conflicts
}

/// What becomes of the record. None: what is wrong with it is among `violations`.
fn resolution(sent: ResolveConflictRequest, device: Uuid, violations: &mut Violations) -> Option<Resolution> {
    let resolution = match ConflictResolution::try_from(sent.resolution) {
        Ok(ConflictResolution::Replace) => {
            let place = PayloadPath {
                within: "",
                payload: "encrypted_payload",
                most: MOST_BYTES,
                device: Some(device),
            };
            let content =
                envelope::encrypted(sent.encrypted_payload, sent.crypto_envelope, &place, violations);
            let local_time = local_time::required("local_time", sent.local_time.as_ref(), violations);
            return Some(Resolution::Replace {
                content: content?,
                local_time: local_time?,
            });
        }
        Ok(ConflictResolution::Keep) => Resolution::Keep,
        Ok(ConflictResolution::Delete) => Resolution::Delete,
        Ok(ConflictResolution::Unspecified) => {
            let description = "What becomes of the record is required here";
            violations.add(Violation::new("resolution", "REQUIRED", description));
            return None;
        }
        Err(_) => {
            violations.unknown_value("resolution");
            return None;
        }
    };
    // A content that would be dropped in silence.
    let given = [
        ("encrypted_payload", !sent.encrypted_payload.is_empty()),
        ("crypto_envelope", sent.crypto_envelope.is_some()),
        ("local_time", sent.local_time.is_some()),
    ];
    for (field, _) in given.into_iter().filter(|(_, given)| *given) {
        let description = "This has to be empty unless the record is replaced";
        violations.add(Violation::new(field, "NOT_EMPTY", description));
    }
    Some(resolution)
}

#[cfg(test)]
mod tests;
