//! DeleteRecord: deletes a record over the version that the device last saw, and keeps a tombstone for other devices.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::Call, failure::Failure, handler::Handler, mac::MacKeys, request_key::RequestKey,
    violations::Violations,
};
use haven_proto::data::v1::{DeleteRecordRequest, DeleteRecordResponse};

use super::{
    super::rotation_notice::WithRotationNotice, CycleRpc, expected_version, record::version_message,
};
use crate::domain::encrypted::change::{Change, SingleChange};

impl Handler<DeleteRecordRequest> for CycleRpc {
    type Answer = WithRotationNotice<DeleteRecordResponse>;

    async fn handle(&self, call: &Call, request: DeleteRecordRequest) -> Result<Self::Answer, Failure> {
        let caller = call.user()?;
        let (change, key) = parse(request, &self.requests, self.clock.now())?;
        let deleted = self.records.delete(caller, &change, key, call.deadline).await?;
        if deleted.now {
            self.changed.of(caller).notify();
        }
        Ok(WithRotationNotice::new(
            DeleteRecordResponse {
                record: Some(version_message(deleted.version)),
            },
            deleted.next_rotation_at,
            self.clock.now(),
        ))
    }
}

fn parse(
    mut request: DeleteRecordRequest,
    requests: &MacKeys,
    now: DateTime<Utc>,
) -> Result<(SingleChange, RequestKey), Failure> {
    let mut violations = Violations::new();
    let key = RequestKey::take(
        "DeleteRecord",
        &mut request,
        |request| &mut request.request_id,
        requests,
        &mut violations,
    );
    let device = violations.uuid("device_id", &request.device_id);
    let record_id = violations.uuid("record_id", &request.record_id);
    expected_version::check(request.expected_version, &mut violations);
    violations.check()?;
    let change = SingleChange {
        device,
        change: Change {
            record_id,
            expected_version: request.expected_version,
            content: None,
            local_time: None,
            conflict_id: None,
        },
        at: now,
    };
    Ok((change, key))
}

#[cfg(test)]
mod tests {
    use haven_platform::{mac::SecretKeys, reason::Reason};

    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
    const OTHER_ID: &str = "01890a5d-ac96-774b-bcce-b302099a8058";

    fn request() -> DeleteRecordRequest {
        DeleteRecordRequest {
            device_id: ID.into(),
            record_id: OTHER_ID.into(),
            expected_version: 3,
            request_id: ID.into(),
        }
    }

    fn parsed(request: DeleteRecordRequest) -> Result<(SingleChange, RequestKey), Failure> {
        let key = MacKeys::derive(&SecretKeys::one([7; 32]), "requests");
        parse(request, &key, DateTime::UNIX_EPOCH)
    }

    #[test]
    fn a_deletion_has_no_content() {
        let (single, _) = parsed(request()).ok().unwrap();
        assert_eq!(single.device.to_string(), ID);
        assert_eq!(single.change.record_id.to_string(), OTHER_ID);
        assert!(single.change.content.is_none());
    }

    #[test]
    fn everything_wrong_is_reported_at_once() {
        let failure = parsed(DeleteRecordRequest::default()).err().unwrap();
        assert_eq!(failure.reason(), Reason::InvalidField);
        let violations = failure.all_violations().iter();
        let violations: Vec<_> = violations.map(|one| (one.field.as_str(), one.name)).collect();
        let expected = [
            ("request_id", "REQUIRED"),
            ("device_id", "REQUIRED"),
            ("record_id", "REQUIRED"),
            ("expected_version", "REQUIRED"),
        ];
        assert_eq!(violations, expected);
    }

    #[test]
    fn the_payload_hash_covers_every_field_but_the_request_id() {
        let mac = |request| parsed(request).ok().unwrap().1.payload_macs;
        let first = mac(request());
        let other_request_id = DeleteRecordRequest {
            request_id: OTHER_ID.into(),
            ..request()
        };
        assert_eq!(first, mac(other_request_id));
        for other in [
            DeleteRecordRequest {
                device_id: OTHER_ID.into(),
                ..request()
            },
            DeleteRecordRequest {
                record_id: ID.into(),
                ..request()
            },
            DeleteRecordRequest {
                expected_version: 2,
                ..request()
            },
        ] {
            assert_ne!(first, mac(other));
        }
    }
}
