//! ResolveConflict: settles conflicts of a record, and keeps, replaces or deletes the record.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use haven_platform::{
    call::Call,
    failure::{Failure, Violation},
    handler::Handler,
    mac::MacKeys,
    request_key::RequestKey,
    violations::Violations,
};
use haven_proto::data::v1::{ConflictResolution, ResolveConflictRequest, ResolveConflictResponse};
use uuid::Uuid;

use super::{
    super::{
        envelope::{self, PayloadPath},
        local_time,
        rotation_notice::WithRotationNotice,
    },
    CycleRpc, expected_version,
    record::version_message,
};
use crate::domain::encrypted::{
    change::Change,
    resolution::{Resolution, Settlement},
};

/// The maximum number of conflicts that one request settles.
const MAX_CONFLICTS: usize = 100;

impl Handler<ResolveConflictRequest> for CycleRpc {
    type Answer = WithRotationNotice<ResolveConflictResponse>;

    async fn handle(&self, call: &Call, request: ResolveConflictRequest) -> Result<Self::Answer, Failure> {
        let caller = call.user()?;
        let (settlement, key) = parse(request, &self.requests, self.clock.now())?;
        let settled = self
            .changes
            .settle(caller, &settlement, key, call.deadline)
            .await?;
        if settled.now {
            self.changed.of(caller).notify();
        }
        Ok(WithRotationNotice::new(
            ResolveConflictResponse {
                record: Some(version_message(settled.record)),
                open_conflicts: settled.open_conflicts,
            },
            settled.next_rotation_at,
            self.clock.now(),
        ))
    }
}

fn parse(
    mut request: ResolveConflictRequest,
    requests: &MacKeys,
    now: DateTime<Utc>,
) -> Result<(Settlement, RequestKey), Failure> {
    let mut violations = Violations::new();
    let key = RequestKey::take(
        "ResolveConflict",
        &mut request,
        |request| &mut request.request_id,
        requests,
        &mut violations,
    );
    let device = violations.uuid("device_id", &request.device_id);
    let record_id = violations.uuid("record_id", &request.record_id);
    let expected_version = request.expected_version;
    expected_version::check(expected_version, &mut violations);
    let conflicts = conflicts(&request.conflict_ids, &mut violations);
    let resolution = resolution(request, device, record_id, &mut violations);
    let settlement = Settlement {
        device,
        record_id,
        expected_version,
        conflicts,
        resolution: envelope::finish(violations, resolution)?,
        at: now,
    };
    Ok((settlement, key))
}

/// Parses the ids of the conflicts. Adds violations when there are none or too many, and for each invalid or repeated
/// id.
fn conflicts(ids: &[String], violations: &mut Violations) -> Vec<Uuid> {
    match ids.len() {
        0 => violations.required("conflict_ids"),
        1..=MAX_CONFLICTS => {}
        _ => {
            let description = "conflict_ids must have at most 100 items";
            violations.add(Violation::new("conflict_ids", "TOO_MANY", description));
            return Vec::new();
        }
    }
    let mut seen = HashSet::new();
    let mut conflicts = Vec::with_capacity(ids.len());
    for (index, id) in ids.iter().enumerate() {
        let field = format!("conflict_ids[{index}]");
        let id = violations.uuid(field.as_str(), id);
        if !id.is_nil() && !seen.insert(id) {
            let description = "conflict_ids must not have duplicates";
            violations.add(Violation::new(field, "DUPLICATE", description));
        }
        conflicts.push(id);
    }
    conflicts
}

/// Parses the effect on the record. `None` when it is invalid, which adds a violation.
fn resolution(
    request: ResolveConflictRequest,
    device: Uuid,
    record_id: Uuid,
    violations: &mut Violations,
) -> Option<Resolution> {
    let deletion = Change {
        record_id,
        expected_version: request.expected_version,
        content: None,
        local_time: None,
        conflict_id: None,
    };
    let resolution = match ConflictResolution::try_from(request.resolution) {
        Ok(ConflictResolution::Replace) => {
            let content = envelope::parse(
                request.encrypted_payload,
                request.crypto_envelope,
                &PayloadPath::of_device(device),
                violations,
            );
            let local_time = local_time::required("local_time", request.local_time.as_ref(), violations);
            return Some(Resolution::Apply(Change {
                content: Some(content?),
                local_time: Some(local_time?),
                ..deletion
            }));
        }
        Ok(ConflictResolution::Keep) => Resolution::Keep,
        Ok(ConflictResolution::Delete) => Resolution::Apply(deletion),
        Ok(ConflictResolution::Unspecified) => {
            violations.required("resolution");
            return None;
        }
        Err(_) => {
            violations.unknown_value("resolution");
            return None;
        }
    };
    // Content is rejected where it would be dropped.
    let fields = [
        ("encrypted_payload", !request.encrypted_payload.is_empty()),
        ("crypto_envelope", request.crypto_envelope.is_some()),
        ("local_time", request.local_time.is_some()),
    ];
    for (field, _) in fields.into_iter().filter(|(_, is_set)| *is_set) {
        let description = format!("{field} must be empty unless the record is replaced");
        violations.add(Violation::new(field, "NOT_EMPTY", description));
    }
    Some(resolution)
}

#[cfg(test)]
mod tests;
