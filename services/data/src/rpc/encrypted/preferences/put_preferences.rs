//! PutPreferences: stores the document over the version that the device last saw.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::Call,
    failure::{Failure, Violation},
    handler::Handler,
    mac::MacKeys,
    request_key::RequestKey,
    time::timestamp,
    violations::Violations,
};
use haven_proto::data::v1::{PutPreferencesRequest, PutPreferencesResponse};

use super::{
    super::{
        envelope::{self, PayloadPath},
        rotation_notice::WithRotationNotice,
    },
    PreferencesRpc,
};
use crate::domain::encrypted::preferences::NewPreferences;

impl Handler<PutPreferencesRequest> for PreferencesRpc {
    type Answer = WithRotationNotice<PutPreferencesResponse>;

    async fn handle(&self, call: &Call, request: PutPreferencesRequest) -> Result<Self::Answer, Failure> {
        let caller = call.user()?;
        let (new, key) = parse(request, &self.requests, self.clock.now())?;
        let stored = self.preferences.put(caller, &new, key, call.deadline).await?;
        Ok(WithRotationNotice::new(
            PutPreferencesResponse {
                version: stored.version,
                update_time: Some(timestamp(stored.updated_at)),
            },
            stored.next_rotation_at,
            self.clock.now(),
        ))
    }
}

fn parse(
    mut request: PutPreferencesRequest,
    requests: &MacKeys,
    now: DateTime<Utc>,
) -> Result<(NewPreferences, RequestKey), Failure> {
    let mut violations = Violations::new();
    let key = RequestKey::take(
        "PutPreferences",
        &mut request,
        |request| &mut request.request_id,
        requests,
        &mut violations,
    );
    let device = violations.uuid("device_id", &request.device_id);
    if request.expected_version < 0 {
        let description = "expected_version must not be negative; it is 0 when there are no preferences yet";
        violations.add(Violation::new("expected_version", "NEGATIVE", description));
    }
    let content = envelope::parse(
        request.encrypted_payload,
        request.crypto_envelope,
        &PayloadPath::of_device(device),
        &mut violations,
    );
    let new = NewPreferences {
        device,
        expected_version: request.expected_version,
        content: envelope::finish(violations, content)?,
        at: now,
    };
    Ok((new, key))
}

#[cfg(test)]
mod tests {
    use haven_platform::{mac::SecretKeys, reason::Reason};
    use haven_proto::data::v1::{CryptoEnvelope, KeyDerivation};

    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
    const OTHER_ID: &str = "01890a5d-ac96-774b-bcce-b302099a8058";

    fn parsed(request: PutPreferencesRequest) -> Result<(NewPreferences, RequestKey), Failure> {
        let key = MacKeys::derive(&SecretKeys::one([7; 32]), "requests");
        parse(request, &key, DateTime::UNIX_EPOCH)
    }

    fn request() -> PutPreferencesRequest {
        PutPreferencesRequest {
            device_id: ID.into(),
            expected_version: 0,
            encrypted_payload: (128..).take(64).collect(),
            crypto_envelope: Some(CryptoEnvelope {
                envelope_version: 1,
                algorithm: 1,
                key_id: ID.into(),
                key_version: 1,
                nonce: vec![7; 24],
                salt: vec![7; 16],
                key_derivation: Some(KeyDerivation {
                    memory_kib: 19_456,
                    iterations: 2,
                    parallelism: 1,
                }),
                associated_data_version: 1,
            }),
            request_id: ID.into(),
        }
    }

    #[test]
    fn everything_wrong_is_reported_at_once() {
        let wrong = PutPreferencesRequest {
            expected_version: -1,
            ..PutPreferencesRequest::default()
        };
        let failure = parsed(wrong).err().unwrap();
        assert_eq!(failure.reason(), Reason::EnvelopeInvalid);
        let violations = failure.all_violations().iter();
        let violations: Vec<_> = violations.map(|one| (one.field.as_str(), one.name)).collect();
        let expected = [
            ("request_id", "REQUIRED"),
            ("device_id", "REQUIRED"),
            ("expected_version", "NEGATIVE"),
            ("encrypted_payload", "REQUIRED"),
            ("crypto_envelope", "REQUIRED"),
        ];
        assert_eq!(violations, expected);
    }

    #[test]
    fn a_violation_outside_the_envelope_is_an_invalid_field() {
        let wrong = PutPreferencesRequest {
            expected_version: -1,
            ..request()
        };
        let failure = parsed(wrong).err().unwrap();
        assert_eq!(failure.reason(), Reason::InvalidField);
    }

    #[test]
    fn the_payload_hash_covers_every_field_but_the_request_id() {
        let mac = |request| parsed(request).ok().unwrap().1.payload_macs;
        let first = mac(request());
        let other_request_id = PutPreferencesRequest {
            request_id: OTHER_ID.into(),
            ..request()
        };
        assert_eq!(first, mac(other_request_id));
        let changes: [fn(&mut PutPreferencesRequest); 3] = [
            |request| request.expected_version = 1,
            |request| request.encrypted_payload.push(7),
            |request| {
                let envelope = request.crypto_envelope.as_mut().unwrap();
                envelope.key_version = 2;
            },
        ];
        for change in changes {
            let mut other = request();
            change(&mut other);
            assert_ne!(first, mac(other));
        }
    }
}
