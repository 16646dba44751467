//! `haven.data.v1.PreferencesService`: people's preferences.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::Call,
    failure::{Failure, Violation},
    mac::MacKey,
    time::timestamp,
    violations::{NO_VALUE, Violations},
};
use haven_proto::data::v1::{
    self as proto, GetPreferencesRequest, GetPreferencesResponse, PutPreferencesRequest,
    PutPreferencesResponse, preferences_service_server::PreferencesService,
};
use tonic::{Request, Response, Status};

use super::{
    EncryptedRpc,
    envelope::{self, MOST_BYTES, PayloadPath},
    message::content_message,
    notice::Noticed,
};
use crate::{
    domain::encrypted::preferences::Preferences,
    store::{encrypted::preferences::put_preferences::NewPreferences, request::RequestKey},
};

#[tonic::async_trait]
impl PreferencesService for EncryptedRpc {
    async fn get_preferences(
        &self,
        request: Request<GetPreferencesRequest>,
    ) -> Result<Response<GetPreferencesResponse>, Status> {
        let call = Call::of(&request)?;
        let answer = self.get_preferences_of(&call, request.get_ref()).await?;
        Ok(answer.response(self.clock.now()))
    }

    async fn put_preferences(
        &self,
        request: Request<PutPreferencesRequest>,
    ) -> Result<Response<PutPreferencesResponse>, Status> {
        let call = Call::of(&request)?;
        let answer = self.put_preferences_of(&call, request.into_inner()).await?;
        Ok(answer.response(self.clock.now()))
    }
}

impl EncryptedRpc {
    async fn get_preferences_of(
        &self,
        call: &Call,
        request: &GetPreferencesRequest,
    ) -> Result<Noticed<GetPreferencesResponse>, Failure> {
        let caller = call.user()?;
        let mut violations = Violations::new();
        let device = violations.optional_uuid("device_id", &request.device_id);
        violations.check()?;
        let found = self.preferences.get(caller, call.deadline, device).await?;
        Ok(Noticed {
            answer: GetPreferencesResponse {
                preferences: Some(preferences_message(found.preferences)),
            },
            next_rotation_at: found.next_rotation_at,
        })
    }

    async fn put_preferences_of(
        &self,
        call: &Call,
        request: PutPreferencesRequest,
    ) -> Result<Noticed<PutPreferencesResponse>, Failure> {
        let caller = call.user()?;
        let (new, request) = parse(request, &self.requests, self.clock.now())?;
        let stored = self.preferences.put(caller, call.deadline, &new, request).await?;
        Ok(Noticed {
            answer: PutPreferencesResponse {
                version: stored.version,
                update_time: Some(timestamp(stored.updated_at)),
            },
            next_rotation_at: stored.next_rotation_at,
        })
    }
}

fn parse(
    mut sent: PutPreferencesRequest,
    requests: &MacKey,
    now: DateTime<Utc>,
) -> Result<(NewPreferences, RequestKey), Failure> {
    let mut violations = Violations::new();
    let request = RequestKey::take(
        "PutPreferences",
        &mut sent,
        |sent| &mut sent.request_id,
        requests,
        &mut violations,
    );
    let device = violations.uuid("device_id", &sent.device_id);
    if sent.expected_version < 0 {
        let description = "A version is 1 or more, or 0 where there are no preferences yet";
        violations.add(Violation::new("expected_version", "NEGATIVE", description));
    }
    let place = PayloadPath {
        within: "",
        payload: "encrypted_payload",
        most: MOST_BYTES,
        device: Some(device),
    };
    let content = envelope::encrypted(
        sent.encrypted_payload,
        sent.crypto_envelope,
        &place,
        &mut violations,
    );
    envelope::check(violations)?;
    let new = NewPreferences {
        device,
        expected_version: sent.expected_version,
        content: content.ok_or_else(|| Failure::internal(NO_VALUE))?,
        at: now,
    };
    Ok((new, request))
}

/// Preferences as they go over the wire.
pub(in crate::rpc) fn preferences_message(preferences: Preferences) -> proto::Preferences {
    let (encrypted_payload, crypto_envelope) = content_message(Some(preferences.content));
    proto::Preferences {
        encrypted_payload,
        crypto_envelope,
        version: preferences.version,
        device_id: preferences.device_id.to_string(),
        create_time: Some(timestamp(preferences.created_at)),
        update_time: Some(timestamp(preferences.updated_at)),
        reencryption_due: preferences.reencryption_due,
    }
}

#[cfg(test)]
mod tests {
    use haven_platform::{mac::SecretKey, reason::Reason};
    use haven_proto::data::v1::{CryptoEnvelope, KeyDerivation};

    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
    const OTHER_ID: &str = "01890a5d-ac96-774b-bcce-b302099a8058";

    fn parse_at_all(sent: PutPreferencesRequest) -> Result<(NewPreferences, RequestKey), Failure> {
        let key = MacKey::derive(&SecretKey::new(Box::new([7; 32])), "requests");
        parse(sent, &key, DateTime::UNIX_EPOCH)
    }

    fn preferences() -> PutPreferencesRequest {
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
        let failure = parse_at_all(wrong).err().unwrap();
        assert_eq!(failure.reason(), Reason::EnvelopeInvalid);
        let violations = failure.all_violations().iter();
        let found: Vec<_> = violations.map(|one| (one.field.as_str(), one.name)).collect();
        let expected = [
            ("request_id", "REQUIRED"),
            ("device_id", "REQUIRED"),
            ("expected_version", "NEGATIVE"),
            ("encrypted_payload", "REQUIRED"),
            ("crypto_envelope", "REQUIRED"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_wrong_beside_the_envelope_is_an_invalid_field() {
        let wrong = PutPreferencesRequest {
            expected_version: -1,
            ..preferences()
        };
        let failure = parse_at_all(wrong).err().unwrap();
        assert_eq!(failure.reason(), Reason::InvalidField);
    }

    #[test]
    fn a_request_is_known_by_all_of_its_content_but_its_id() {
        let mac = |sent| parse_at_all(sent).ok().unwrap().1.payload_mac;
        let first = mac(preferences());
        let same = PutPreferencesRequest {
            request_id: OTHER_ID.into(),
            ..preferences()
        };
        assert_eq!(first, mac(same));
        let others: [fn(&mut PutPreferencesRequest); 3] = [
            |sent| sent.expected_version = 1,
            |sent| sent.encrypted_payload.push(7),
            |sent| {
                let envelope = sent.crypto_envelope.as_mut().unwrap();
                envelope.key_version = 2;
            },
        ];
        for change in others {
            let mut other = preferences();
            change(&mut other);
            assert_ne!(first, mac(other));
        }
    }
}
