//! Parsing of PushChanges requests.

use chrono::{DateTime, Utc};
use haven_platform::{
    failure::{Failure, Violation},
    mac::MacKeys,
    request_key::RequestKey,
    violations::Violations,
};
use haven_proto::data::v1::{self as proto, ChangeKind, PushChangesRequest};
use uuid::Uuid;

use super::super::super::{
    envelope::{self, PayloadPath},
    local_time,
};
use crate::domain::encrypted::{
    change::Change,
    push::{Push, PushMode},
};

/// The maximum number of changes in a push.
const MAX_CHANGES: usize = 100;

/// The greatest version that a change may be based on: the change makes the next one.
const MAX_EXPECTED_VERSION: i64 = i64::MAX - 1;

/// Parses a request at `now`. `conflict_id` generates the id of the conflict that a change is kept as when it loses.
///
/// # Errors
///
/// ENVELOPE_INVALID or INVALID_FIELD, with all violations.
pub(super) fn parse(
    mut request: PushChangesRequest,
    requests: &MacKeys,
    now: DateTime<Utc>,
    conflict_id: impl Fn() -> Uuid,
) -> Result<(Push, RequestKey), Failure> {
    let mut violations = Violations::new();
    let key = RequestKey::take(
        "PushChanges",
        &mut request,
        |request| &mut request.request_id,
        requests,
        &mut violations,
    );
    let device = violations.uuid("device_id", &request.device_id);
    let mode = mode(request.mode, &mut violations);
    match request.changes.len() {
        0 => violations.required("changes"),
        1..=MAX_CHANGES => {}
        _ => {
            let description = "changes must have at most 100 items";
            violations.add(Violation::new("changes", "TOO_MANY", description));
            // The number of violations in a response stays bounded.
            request.changes.clear();
        }
    }
    let mut changes = Vec::with_capacity(request.changes.len());
    for (index, change) in request.changes.into_iter().enumerate() {
        let parent = format!("changes[{index}].");
        changes.push(parse_change(
            change,
            &parent,
            device,
            conflict_id(),
            &mut violations,
        ));
    }
    let changes = changes.into_iter().collect::<Option<_>>().zip(mode);
    let (changes, mode) = envelope::finish(violations, changes)?;
    let push = Push {
        device,
        changes,
        mode,
        at: now,
    };
    Ok((push, key))
}

/// Parses the mode. `None` when it is invalid, which adds a violation.
fn mode(mode: i32, violations: &mut Violations) -> Option<PushMode> {
    match proto::PushMode::try_from(mode) {
        Ok(proto::PushMode::Independent) => return Some(PushMode::Independent),
        Ok(proto::PushMode::Atomic) => return Some(PushMode::Atomic),
        Ok(proto::PushMode::Unspecified) => violations.required("mode"),
        Err(_) => violations.unknown_value("mode"),
    }
    None
}

/// Parses a change. The paths of its fields begin with `parent`. `None` when it is invalid, which adds a violation.
fn parse_change(
    change: proto::Change,
    parent: &str,
    device: Uuid,
    conflict_id: Uuid,
    violations: &mut Violations,
) -> Option<Change> {
    let path = |field: &str| format!("{parent}{field}");
    let kind = ChangeKind::try_from(change.kind);
    let record_id = violations.uuid(path("record_id"), &change.record_id);
    check_expected_version(
        path("expected_version"),
        kind == Ok(ChangeKind::Delete),
        change.expected_version,
        violations,
    );
    let local_time = change.local_time.as_ref();
    let (content, local_time) = match kind {
        Ok(ChangeKind::Put) => {
            let payload = PayloadPath {
                parent,
                ..PayloadPath::of_device(device)
            };
            let content = envelope::parse(
                change.encrypted_payload,
                change.crypto_envelope,
                &payload,
                violations,
            );
            let time = local_time::required(path("local_time"), local_time, violations);
            (Some(content?), Some(time?))
        }
        Ok(ChangeKind::Delete) => {
            let fields = [
                ("encrypted_payload", !change.encrypted_payload.is_empty()),
                ("crypto_envelope", change.crypto_envelope.is_some()),
            ];
            for (field, _) in fields.into_iter().filter(|(_, is_set)| *is_set) {
                let description = format!("{field} must be empty in a deletion");
                violations.add(Violation::new(path(field), "NOT_EMPTY", description));
            }
            let time = local_time::optional(path("local_time"), local_time, violations);
            (None, time)
        }
        Ok(ChangeKind::Unspecified) => {
            violations.required(path("kind"));
            return None;
        }
        Err(_) => {
            violations.unknown_value(path("kind"));
            return None;
        }
    };
    Some(Change {
        record_id,
        expected_version: change.expected_version,
        content,
        local_time,
        conflict_id: Some(conflict_id),
    })
}

/// Checks the version that a change is based on: 0 or more, or for a deletion 1 or more.
fn check_expected_version(path: String, is_deletion: bool, version: i64, violations: &mut Violations) {
    if (i64::from(is_deletion)..=MAX_EXPECTED_VERSION).contains(&version) {
        return;
    }
    let (name, description) = match version {
        0 => (
            "REQUIRED",
            "expected_version is required in a deletion, and must be 1 or more",
        ),
        ..0 => ("NEGATIVE", "expected_version must not be negative"),
        _ => ("OUT_OF_RANGE", "expected_version is too large"),
    };
    violations.add(Violation::new(path, name, description));
}

#[cfg(test)]
mod tests;
