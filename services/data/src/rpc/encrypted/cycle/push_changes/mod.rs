//! PushChanges: applies the changes that a device made while it was offline.

mod parse;

use haven_platform::{call::Call, failure::Failure, handler::Handler, reason::Reason};
use haven_proto::data::v1::{self as proto, PushChangesRequest, PushChangesResponse};

use super::{super::rotation_notice::WithRotationNotice, CycleRpc};
use crate::domain::encrypted::{
    change::Change,
    push::{ChangeRefusal, ChangeResult, Outcome},
};

impl Handler<PushChangesRequest> for CycleRpc {
    type Answer = WithRotationNotice<PushChangesResponse>;

    async fn handle(&self, call: &Call, request: PushChangesRequest) -> Result<Self::Answer, Failure> {
        let caller = call.user()?;
        let conflict_id = || self.entropy.uuid_v7(&self.clock);
        let (push, key) = parse::parse(request, &self.requests, self.clock.now(), conflict_id)?;
        let pushed = self.changes.push(caller, &push, key, call.deadline).await?;
        if pushed.changed {
            self.changed.of(caller).notify();
        }
        let results = push.changes.iter().zip(&pushed.results);
        Ok(WithRotationNotice::new(
            PushChangesResponse {
                results: results
                    .map(|(change, result)| result_message(change, result))
                    .collect(),
            },
            pushed.next_rotation_at,
            self.clock.now(),
        ))
    }
}

/// Converts the result of a change.
fn result_message(change: &Change, result: &ChangeResult) -> proto::ChangeResult {
    let (outcome, reason, current_key_version) = match result.outcome {
        Outcome::Applied => (proto::ChangeOutcome::Applied, Reason::Unspecified, 0),
        Outcome::AlreadyApplied => (proto::ChangeOutcome::AlreadyApplied, Reason::Unspecified, 0),
        Outcome::Conflict => (proto::ChangeOutcome::Conflict, Reason::Unspecified, 0),
        Outcome::Deleted => (proto::ChangeOutcome::Deleted, Reason::Unspecified, 0),
        Outcome::HeldBack => (proto::ChangeOutcome::HeldBack, Reason::Unspecified, 0),
        Outcome::Refused(refusal) => {
            let (reason, current) = match refusal {
                ChangeRefusal::NotFound => (Reason::NotFound, 0),
                ChangeRefusal::NonceReused => (Reason::NonceReused, 0),
                ChangeRefusal::KeyVersionStale { current } => (Reason::KeyVersionStale, current),
                ChangeRefusal::KeyVersionUnknown { current } => (Reason::EnvelopeInvalid, current),
            };
            (proto::ChangeOutcome::Refused, reason, current)
        }
    };
    proto::ChangeResult {
        record_id: change.record_id.to_string(),
        outcome: outcome.into(),
        version: result.version,
        change_number: result.change_number.unwrap_or_default(),
        conflict_id: result.conflict_id.map(|id| id.to_string()).unwrap_or_default(),
        reason: reason.into(),
        current_key_version,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn each_outcome_has_its_own_proto_value() {
        let change = Change {
            record_id: Uuid::from_u128(1),
            expected_version: 0,
            content: None,
            local_time: None,
            conflict_id: None,
        };
        let refused = Outcome::Refused;
        for (outcome, name, reason, current) in [
            (Outcome::Applied, "APPLIED", Reason::Unspecified, 0),
            (Outcome::AlreadyApplied, "ALREADY_APPLIED", Reason::Unspecified, 0),
            (Outcome::Conflict, "CONFLICT", Reason::Unspecified, 0),
            (Outcome::Deleted, "DELETED", Reason::Unspecified, 0),
            (Outcome::HeldBack, "HELD_BACK", Reason::Unspecified, 0),
            (refused(ChangeRefusal::NotFound), "REFUSED", Reason::NotFound, 0),
            (
                refused(ChangeRefusal::NonceReused),
                "REFUSED",
                Reason::NonceReused,
                0,
            ),
            (
                refused(ChangeRefusal::KeyVersionStale { current: 3 }),
                "REFUSED",
                Reason::KeyVersionStale,
                3,
            ),
            (
                refused(ChangeRefusal::KeyVersionUnknown { current: 2 }),
                "REFUSED",
                Reason::EnvelopeInvalid,
                2,
            ),
        ] {
            let result = ChangeResult {
                outcome,
                version: 5,
                change_number: None,
                conflict_id: None,
            };
            let message = result_message(&change, &result);
            assert_eq!(message.outcome().as_str_name(), format!("CHANGE_OUTCOME_{name}"));
            assert_eq!((message.reason(), message.current_key_version), (reason, current));
            assert_eq!((message.version, message.change_number), (5, 0));
            assert_eq!(message.record_id, change.record_id.to_string());
        }
    }
}
