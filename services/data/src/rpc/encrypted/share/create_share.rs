//! Sharing something: what somebody sends for it, parsed, and the token that is answered.

use std::mem;

use chrono::{DateTime, Utc};
use haven_platform::{
    call::Call,
    failure::{Failure, Violation},
    reason::Reason,
    violations::{NO_VALUE, Violations},
};
use haven_proto::data::v1::{CreateShareRequest, CreateShareResponse};
use prost::Message as _;
use secrecy::SecretString;
use uuid::Uuid;

use super::{
    EncryptedRpc,
    envelope::{self, MOST_SHARED_BYTES, PayloadPath},
    local_time, share_message,
    share_message::passcode,
};
use crate::{
    domain::encrypted::{
        envelope::Encrypted,
        passcode::{Passcode, PasscodeHash},
        share::{LONGEST, MOST_ACCESSES, Share},
        share_token::ShareToken,
    },
    passcodes::PasscodeError,
    store::{
        encrypted::share::create_share::{CreateShareError, NewShare},
        request::RequestKey,
    },
};

/// Something that somebody wants to share.
struct Create {
    share_id: Uuid,
    content: Encrypted,
    expires_at: DateTime<Utc>,
    max_access_count: i32,
    passcode: Option<Passcode>,
    request_id: Uuid,
    /// The rest of the request, as it was sent, but for the passcode.
    sent: Vec<u8>,
}

impl EncryptedRpc {
    pub(super) async fn create_share_of(
        &self,
        call: &Call,
        request: CreateShareRequest,
    ) -> Result<CreateShareResponse, Failure> {
        let caller = call.user()?;
        let created_at = self.clock.now();
        let create = Create::parse(request, created_at)?;
        let ids = [caller.as_uuid(), &create.request_id, &create.share_id].map(|id| id.as_bytes().as_slice());
        let token = ShareToken::new(self.share_tokens.mac(&ids));
        let passcode_hash = match create.passcode {
            Some(passcode) => Some(self.passcodes.hash(passcode, &ids, call.deadline).await?),
            None => None,
        };
        // The same passcode for the same share and request has the same hash. To guess it against this keyed hash takes as
        // long as against that.
        let passcode = passcode_hash.as_ref().map_or("", PasscodeHash::expose);
        let request = RequestKey {
            id: create.request_id,
            payload_mac: self
                .requests
                .mac(&[b"CreateShare", &create.sent, passcode.as_bytes()]),
        };
        let new = NewShare {
            id: create.share_id,
            content: create.content,
            token_hash: self.share_token_hashes.of(&token),
            passcode_hash,
            expires_at: create.expires_at,
            max_access_count: create.max_access_count,
            created_at,
        };
        let times = self.shares.create(caller, call.deadline, &new, request).await?;
        // As it was made, also for a retry.
        let share = Share {
            id: new.id,
            expires_at: times.expires_at,
            max_access_count: new.max_access_count,
            access_count: 0,
            refusal_count: 0,
            wrong_passcodes: 0,
            last_accessed_at: None,
            created_at: times.created_at,
            revoked_at: None,
        };
        Ok(CreateShareResponse {
            share: Some(share_message::share(&share, times.created_at)),
            token: token.write(),
        })
    }
}

impl Create {
    /// Parses what was sent at `now`. That its time is over already is no reason to refuse it here, unless something else
    /// is wrong: it may be the retry of a request that was in time.
    fn parse(mut sent: CreateShareRequest, now: DateTime<Utc>) -> Result<Self, Failure> {
        let mut violations = Violations::new();
        let passcode_sent = SecretString::from(mem::take(&mut sent.passcode));
        let request_id = violations.uuid("request_id", &mem::take(&mut sent.request_id));
        let encoded = sent.encode_to_vec();
        let share_id = violations.optional_uuid("share_id", &sent.share_id);
        let place = PayloadPath {
            within: "",
            payload: "encrypted_share_data",
            most: MOST_SHARED_BYTES,
            device: None,
        };
        let content = envelope::encrypted(
            mem::take(&mut sent.encrypted_share_data),
            sent.crypto_envelope.take(),
            &place,
            &mut violations,
        );
        let expires_at = local_time::required("expire_time", sent.expire_time.as_ref(), &mut violations);
        if expires_at.is_some_and(|time| time > now + LONGEST) {
            let description = "What is shared is shared for at most 90 days";
            violations.add(Violation::new("expire_time", "TOO_LATE", description));
        }
        if !(1..=MOST_ACCESSES).contains(&sent.max_access_count) {
            let description = "What is shared may be opened once to 1000 times";
            violations.add(Violation::new("max_access_count", "OUT_OF_RANGE", description));
        }
        let passcode = passcode(passcode_sent, &mut violations);
        let mut checked = envelope::check(violations);
        if let (Err(failure), Some(true)) = (&checked, expires_at.map(|time| time <= now)) {
            let violations = [failure.all_violations(), &[too_soon()]].concat();
            checked = Err(Failure::violations(failure.reason(), violations));
        }
        checked?;
        let (content, expires_at) = content
            .zip(expires_at)
            .ok_or_else(|| Failure::internal(NO_VALUE))?;
        Ok(Self {
            share_id: share_id.unwrap_or(request_id),
            content,
            expires_at,
            max_access_count: sent.max_access_count,
            passcode,
            request_id,
            sent: encoded,
        })
    }
}

fn of_a_device() -> Violation {
    let description = "A share is encrypted under a key of its own, and not under a device's";
    Violation::new("crypto_envelope.key_id", "KEY_OF_A_DEVICE", description)
}

fn too_soon() -> Violation {
    let description = "This has to be later than now";
    Violation::new("expire_time", "NOT_IN_THE_FUTURE", description)
}

impl From<CreateShareError> for Failure {
    fn from(error: CreateShareError) -> Self {
        match error {
            CreateShareError::Unknown(unknown) => unknown.into(),
            CreateShareError::KeyOfADevice => Self::violations(Reason::EnvelopeInvalid, vec![of_a_device()]),
            CreateShareError::Expired => Self::violations(Reason::InvalidField, vec![too_soon()]),
            CreateShareError::ShareExists => Self::new(Reason::RecordExists),
            CreateShareError::NonceReused => Self::new(Reason::NonceReused),
            CreateShareError::RequestIdReused => Self::new(Reason::RequestIdReused),
            CreateShareError::Database(error) => error.into(),
        }
    }
}

impl From<PasscodeError> for Failure {
    fn from(error: PasscodeError) -> Self {
        match error {
            PasscodeError::Overloaded(overloaded) => overloaded.into(),
            PasscodeError::Interrupted(_) | PasscodeError::Recipe | PasscodeError::Internal(_) => {
                Self::internal(error)
            }
        }
    }
}

#[cfg(test)]
mod tests;
