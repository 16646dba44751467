//! From a request to push changes to domain types. Everything that is wrong with it is reported at once.

use chrono::{DateTime, Utc};
use haven_platform::{
    failure::{Failure, Violation},
    mac::MacKey,
    violations::Violations,
};
use haven_proto::data::v1::{self as proto, ChangeKind, PushChangesRequest};
use uuid::Uuid;

use super::super::{
    envelope::{self, MOST_BYTES, PayloadPath},
    local_time,
};
use crate::{
    domain::encrypted::change::{Change, PushMode},
    store::{encrypted::cycle::push_changes::Push, request::RequestKey},
};

/// The most changes that are pushed at once.
const MOST_CHANGES: usize = 100;

/// The most versions that a record can have had: there is one after each that a change is based on.
const MOST_VERSIONS: i64 = i64::MAX - 1;

/// What a device pushes at `now`. `conflict_id` makes up what each change is kept as if it loses.
pub(super) fn parse(
    mut sent: PushChangesRequest,
    requests: &MacKey,
    now: DateTime<Utc>,
    conflict_id: impl Fn() -> Uuid,
) -> Result<(Push, RequestKey), Failure> {
    let mut violations = Violations::new();
    let request = RequestKey::take(
        "PushChanges",
        &mut sent,
        |sent| &mut sent.request_id,
        requests,
        &mut violations,
    );
    let device = violations.uuid("device_id", &sent.device_id);
    let mode = match proto::PushMode::try_from(sent.mode) {
        Ok(proto::PushMode::Independent) => Some(PushMode::Independent),
        Ok(proto::PushMode::Atomic) => Some(PushMode::Atomic),
        Ok(proto::PushMode::Unspecified) => {
            let description = "Whether the changes stand together is required here";
            violations.add(Violation::new("mode", "REQUIRED", description));
            None
        }
        Err(_) => {
            violations.unknown_value("mode");
            None
        }
    };
    match sent.changes.len() {
        0 => violations.add(Violation::new("changes", "REQUIRED", "A change is required here")),
        1..=MOST_CHANGES => {}
        _ => {
            let description = "At most 100 changes are pushed at once";
            violations.add(Violation::new("changes", "TOO_MANY", description));
            // Nobody needs to be told a million times what else is wrong.
            sent.changes.clear();
        }
    }
    let mut changes = Vec::with_capacity(sent.changes.len());
    for (place, change) in sent.changes.into_iter().enumerate() {
        let within = format!("changes[{place}].");
        changes.push(parse_change(
            change,
            &within,
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
    Ok((push, request))
}

/// One of the changes. None: what is wrong with it is among `violations`.
fn parse_change(
    sent: proto::Change,
    within: &str,
    device: Uuid,
    conflict_id: Uuid,
    violations: &mut Violations,
) -> Option<Change> {
    let path = |field: &str| format!("{within}{field}");
    let kind = ChangeKind::try_from(sent.kind);
    let record_id = violations.uuid(path("record_id"), &sent.record_id);
    let least = i64::from(kind == Ok(ChangeKind::Delete));
    if !(least..=MOST_VERSIONS).contains(&sent.expected_version) {
        let (name, description) = match (kind, sent.expected_version) {
            (Ok(ChangeKind::Delete), 0) => (
                "REQUIRED",
                "The version that is to be deleted is required, 1 or more",
            ),
            (_, ..0) => ("NEGATIVE", "No record has a negative version"),
            _ => ("OUT_OF_RANGE", "No record has had so many versions"),
        };
        violations.add(Violation::new(path("expected_version"), name, description));
    }
    let local_time = sent.local_time.as_ref();
    let (content, local_time) = match kind {
        Ok(ChangeKind::Put) => {
            let place = PayloadPath {
                within,
                payload: "encrypted_payload",
                most: MOST_BYTES,
                device: Some(device),
            };
            let content =
                envelope::encrypted(sent.encrypted_payload, sent.crypto_envelope, &place, violations);
            let time = local_time::required(path("local_time"), local_time, violations);
            (Some(content?), Some(time?))
        }
        Ok(ChangeKind::Delete) => {
            let description = "Nothing is encrypted to delete a record";
            if !sent.encrypted_payload.is_empty() {
                violations.add(Violation::new(
                    path("encrypted_payload"),
                    "NOT_EMPTY",
                    description,
                ));
            }
            if sent.crypto_envelope.is_some() {
                violations.add(Violation::new(path("crypto_envelope"), "NOT_EMPTY", description));
            }
            (
                None,
                local_time::optional(path("local_time"), local_time, violations),
            )
        }
        Ok(ChangeKind::Unspecified) => {
            let description = "The kind of change is required here";
            violations.add(Violation::new(path("kind"), "REQUIRED", description));
            return None;
        }
        Err(_) => {
            violations.unknown_value(path("kind"));
            return None;
        }
    };
    Some(Change {
        record_id,
        expected_version: sent.expected_version,
        content,
        local_time,
        conflict_id,
    })
}

#[cfg(test)]
mod tests;
