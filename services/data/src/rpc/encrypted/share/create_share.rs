//! CreateShare: makes a share, and returns the token that opens it.

use std::mem;

use chrono::{DateTime, Utc};
use haven_platform::{
    call::{Call, UserId},
    deadline::Deadline,
    failure::{Failure, Violation},
    handler::Handler,
    mac::{KeyId, StoredMac},
    reason::Reason,
    request_key::RequestKey,
    violations::{NO_VALUE, Violations},
};
use haven_proto::data::v1::{CreateShareRequest, CreateShareResponse};
use prost::Message as _;
use secrecy::SecretString;
use uuid::Uuid;

use super::{
    super::{
        envelope::{self, MAX_SHARED_BYTES, PayloadPath},
        local_time,
    },
    ShareRpc, passcode, share_message,
};
use crate::{
    domain::encrypted::{
        envelope::Encrypted,
        passcode::{Passcode, PasscodeHash},
        share::{ExpiryProblem, MAX_ACCESSES, NewShare, Share, expiry},
        share_token::ShareToken,
    },
    store::encrypted::share::CreateShareError,
};

/// The parsed [`CreateShareRequest`].
struct Create {
    share_id: Uuid,
    content: Encrypted,
    expires_at: Result<DateTime<Utc>, ExpiryProblem>,
    max_access_count: i32,
    passcode: Option<Passcode>,
    request_id: Uuid,
    /// The request as it was sent, without its id and its passcode.
    encoded: Vec<u8>,
}

impl Handler<CreateShareRequest> for ShareRpc {
    type Answer = CreateShareResponse;

    async fn handle(&self, call: &Call, request: CreateShareRequest) -> Result<Self::Answer, Failure> {
        let caller = call.user()?;
        let created_at = self.clock.now();
        let create = Create::parse(request, created_at)?;
        let ids = [caller.as_uuid(), &create.request_id, &create.share_id].map(|id| id.as_bytes().as_slice());
        let made = self
            .made_under(caller, self.share_tokens.first_id(), &ids, &create, call.deadline)
            .await?;
        let (mut token, mut request) = (made.token, made.request);
        let mut new = NewShare {
            id: create.share_id,
            content: create.content.clone(),
            token_hash: made.token_hash,
            passcode_hash: made.passcode_hash,
            expires_at: create.expires_at.ok(),
            max_access_count: create.max_access_count,
            created_at,
        };
        let mut outcome = self.shares.create(caller, &new, request, call.deadline).await;
        // The answer to a retry has the token of the first request, so it is under the key that came first in the ring then.
        // Another key is tried only when the request id is taken: passcodes are hashed once in all other cases.
        for key in self.share_tokens.ids().skip(1) {
            if !matches!(outcome, Err(CreateShareError::RequestIdReused)) {
                break;
            }
            let made = self.made_under(caller, key, &ids, &create, call.deadline).await?;
            (token, request) = (made.token, made.request);
            (new.token_hash, new.passcode_hash) = (made.token_hash, made.passcode_hash);
            outcome = self.shares.create(caller, &new, request, call.deadline).await;
        }
        if let (Err(CreateShareError::ExpireTime), Err(problem)) = (&outcome, create.expires_at) {
            return Err(Failure::violations(Reason::InvalidField, vec![problem.into()]));
        }
        let times = outcome?;
        // The share as it was made, also for a retry.
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
            share: Some(share_message(&share, times.created_at)),
            token: token.write(),
        })
    }
}

/// What a share and its request have that depends on a key of the ring.
struct Made {
    token: ShareToken,
    token_hash: StoredMac,
    passcode_hash: Option<PasscodeHash>,
    request: RequestKey,
}

impl ShareRpc {
    /// Derives what depends on a key from the key with the id `key`. `ids` are those of the person, the request and the share.
    async fn made_under(
        &self,
        caller: UserId,
        key: KeyId,
        ids: &[&[u8]],
        create: &Create,
        deadline: Deadline,
    ) -> Result<Made, Failure> {
        let token = ShareToken::new(self.share_tokens.get(key).mac(ids));
        let passcode_hash = match &create.passcode {
            Some(passcode) => Some(self.passcodes.hash(caller, key, passcode, ids, deadline).await?),
            None => None,
        };
        // The request's keyed hash covers the passcode by its hash, which is the same for the same share and request.
        // So guessing the passcode against the keyed hash is as slow as against the stored hash.
        let passcode = passcode_hash.as_ref().map_or("", PasscodeHash::expose);
        let payload = [b"CreateShare", create.encoded.as_slice(), passcode.as_bytes()];
        let payload_mac = StoredMac::new(self.requests.get(key).mac(&payload), key);
        Ok(Made {
            token_hash: self.share_token_hashes.under(key, &token),
            token,
            passcode_hash,
            request: RequestKey {
                id: create.request_id,
                payload_macs: payload_mac.into(),
            },
        })
    }
}

impl Create {
    /// Parses a request at `now`.
    ///
    /// An expiry time that no new share can have is a violation only beside another one. On its own it may be that of a
    /// retry of a request that was in time, which only the database knows.
    fn parse(mut request: CreateShareRequest, now: DateTime<Utc>) -> Result<Self, Failure> {
        let mut violations = Violations::new();
        let passcode = SecretString::from(mem::take(&mut request.passcode));
        let request_id = violations.uuid("request_id", &mem::take(&mut request.request_id));
        let encoded = request.encode_to_vec();
        let share_id = violations.optional_uuid("share_id", &request.share_id);
        let path = PayloadPath {
            parent: "",
            payload: "encrypted_share_data",
            max_bytes: MAX_SHARED_BYTES,
            device: None,
        };
        let content = envelope::parse(
            mem::take(&mut request.encrypted_share_data),
            request.crypto_envelope.take(),
            &path,
            &mut violations,
        );
        let expires_at = local_time::required("expire_time", request.expire_time.as_ref(), &mut violations);
        let expires_at = expires_at.map(|time| expiry(time, now));
        if !(1..=MAX_ACCESSES).contains(&request.max_access_count) {
            let description = "max_access_count must be 1 to 1,000";
            violations.add(Violation::new("max_access_count", "OUT_OF_RANGE", description));
        }
        let passcode = passcode::parse(passcode, &mut violations);
        let mut checked = envelope::check(violations);
        if let (Err(failure), Some(Err(problem))) = (&checked, expires_at) {
            let violations = [failure.all_violations(), &[problem.into()]].concat();
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
            max_access_count: request.max_access_count,
            passcode,
            request_id,
            encoded,
        })
    }
}

fn key_of_a_device() -> Violation {
    let description = "key_id must not be a device's: a share is encrypted under a key of its own";
    Violation::new("crypto_envelope.key_id", "KEY_OF_A_DEVICE", description)
}

impl From<ExpiryProblem> for Violation {
    fn from(problem: ExpiryProblem) -> Self {
        let (name, description) = match problem {
            ExpiryProblem::NotInTheFuture => (
                "NOT_IN_THE_FUTURE",
                "expire_time must be later than now, by the server's clock",
            ),
            ExpiryProblem::TooLate => (
                "TOO_LATE",
                "expire_time must be at most 90 days from now, by the server's clock",
            ),
        };
        Self::new("expire_time", name, description)
    }
}

impl From<CreateShareError> for Failure {
    fn from(error: CreateShareError) -> Self {
        match error {
            CreateShareError::Unknown(unknown) => unknown.into(),
            CreateShareError::KeyOfADevice => {
                Self::violations(Reason::EnvelopeInvalid, vec![key_of_a_device()])
            }
            // The handler knows which rule the time breaks.
            CreateShareError::ExpireTime => Self::new(Reason::InvalidField),
            CreateShareError::ShareExists => Self::new(Reason::RecordExists),
            CreateShareError::NonceReused => Self::new(Reason::NonceReused),
            CreateShareError::RequestIdReused => Self::new(Reason::RequestIdReused),
            CreateShareError::Database(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests;
