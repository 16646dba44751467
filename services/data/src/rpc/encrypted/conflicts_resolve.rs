//! Settling conflicts: what a device sends for it, parsed, and what is answered.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use haven_platform::{
    call::Call,
    failure::{Failure, Violation},
    fields::Fields,
    mac::MacKey,
};
use haven_proto::data::v1::{ConflictResolution, ResolveConflictRequest, ResolveConflictResponse};
use uuid::Uuid;

use super::{
    EncryptedRpc,
    envelope::{self, MOST_OCTETS, Place},
    local_time,
    message::version_message,
    notice::Noticed,
};
use crate::{
    domain::encrypted::change::Resolution,
    rpc::parsing::{UNSAID, request_key, unknown},
    store::{encrypted::resolution::Settlement, request::RequestKey},
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
            self.changed.of(caller).raise();
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
    let mut fields = Fields::new();
    let request = request_key(
        "ResolveConflict",
        &mut sent,
        |sent| &mut sent.request_id,
        requests,
        &mut fields,
    );
    let device = fields.uuid("device_id", &sent.device_id);
    let record_id = fields.uuid("record_id", &sent.record_id);
    if sent.expected_version < 1 {
        let description = "The version that the resolution is based on is required, 1 or more";
        fields.violate(Violation::new("expected_version", "REQUIRED", description));
    }
    let expected_version = sent.expected_version;
    let conflicts = conflicts(&sent.conflict_ids, &mut fields);
    let resolution = resolution(sent, device, &mut fields);
    envelope::check(fields)?;
    let settlement = Settlement {
        device,
        record_id,
        expected_version,
        conflicts,
        resolution: resolution.ok_or_else(|| Failure::internal(UNSAID))?,
        at: now,
    };
    Ok((settlement, request))
}

/// The conflicts that are settled. Where something is wrong with them, it is among `fields`.
fn conflicts(sent: &[String], fields: &mut Fields) -> Vec<Uuid> {
    match sent.len() {
        0 => {
            let description = "A conflict is required here";
            fields.violate(Violation::new("conflict_ids", "REQUIRED", description));
        }
        1..=MOST_CONFLICTS => {}
        _ => {
            let description = "At most 100 conflicts are settled at once";
            fields.violate(Violation::new("conflict_ids", "TOO_MANY", description));
            return Vec::new();
        }
    }
    let mut seen = HashSet::new();
    let mut conflicts = Vec::with_capacity(sent.len());
    for (place, id) in sent.iter().enumerate() {
        let field = format!("conflict_ids[{place}]");
        let id = fields.uuid(field.as_str(), id);
        if !id.is_nil() && !seen.insert(id) {
            let description = "A conflict is settled once";
            fields.violate(Violation::new(field, "DUPLICATE", description));
        }
        conflicts.push(id);
    }
    conflicts
}

/// What becomes of the record. None: what is wrong with it is among `fields`.
fn resolution(sent: ResolveConflictRequest, device: Uuid, fields: &mut Fields) -> Option<Resolution> {
    let resolution = match ConflictResolution::try_from(sent.resolution) {
        Ok(ConflictResolution::Replace) => {
            let place = Place {
                within: "",
                payload: "encrypted_payload",
                most: MOST_OCTETS,
                device: Some(device),
            };
            let content = envelope::encrypted(sent.encrypted_payload, sent.crypto_envelope, &place, fields);
            let local_time = local_time::required("local_time", sent.local_time.as_ref(), fields);
            return Some(Resolution::Replace {
                content: content?,
                local_time: local_time?,
            });
        }
        Ok(ConflictResolution::Keep) => Resolution::Keep,
        Ok(ConflictResolution::Delete) => Resolution::Delete,
        Ok(ConflictResolution::Unspecified) => {
            let description = "What becomes of the record is required here";
            fields.violate(Violation::new("resolution", "REQUIRED", description));
            return None;
        }
        Err(_) => {
            fields.violate(unknown("resolution"));
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
        fields.violate(Violation::new(field, "NOT_EMPTY", description));
    }
    Some(resolution)
}

#[cfg(test)]
mod tests;
