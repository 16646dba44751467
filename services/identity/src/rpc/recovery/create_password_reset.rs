//! CreatePasswordReset: creates a token with which a person who reads the mailbox sets a new password.
//!
//! An address without an account gets a token of the same form, which never works. The answer is sent at a multiple of
//! [`STEP`] after the start of the call, so its time does not show which addresses have an account either.

use std::time::Duration;

use chrono::{DateTime, Utc};
use haven_platform::{
    call::{Call, UserId},
    failure::Failure,
    handler::Handler,
    latency::next_step,
    mac::{KeyId, MacKey, MacKeys},
    reason::Reason,
    request_key::RequestKey,
    time::timestamp,
    violations::Violations,
};
use haven_proto::identity::v1::{CreatePasswordResetRequest, CreatePasswordResetResponse};
use tokio::time::{Instant, sleep_until};

use super::{RecoveryRpc, count};
use crate::{
    domain::{
        email::EmailAddress,
        recovery::{RecoveryKind, RecoveryToken, TokenRequest},
    },
    rpc::email,
    store::recovery::{CreateError, Created, ResetRequest},
};

/// The step of the latency. It is many times longer than the call takes, so that calls are answered at the same step.
const STEP: Duration = Duration::from_millis(50);

/// The number of times that a call is tried when another call with the same request id comes first.
const TRIES: usize = 3;

const METHOD: &str = "CreatePasswordReset";

/// The parsed [`CreatePasswordResetRequest`].
struct ResetCreation {
    email: EmailAddress,
    request: RequestKey,
}

/// A token for an address, with or without an account.
struct CreatedReset {
    /// The time from which the token is no longer accepted.
    expires_at: DateTime<Utc>,
    /// The id of the account's person, from which the token is derived. `None` when the address had no account.
    person: Option<UserId>,
    /// The id of the key that the token is derived from, when an earlier call with the same request id created the token.
    earlier_key: Option<KeyId>,
}

impl Handler<CreatePasswordResetRequest> for RecoveryRpc {
    type Answer = CreatePasswordResetResponse;

    async fn handle(
        &self,
        call: &Call,
        request: CreatePasswordResetRequest,
    ) -> Result<CreatePasswordResetResponse, Failure> {
        let start = Instant::now();
        self.check_provider()?;
        let creation = ResetCreation::parse(request, &self.request_mac)?;
        let reset = self.create_reset(call, &creation).await?;
        let derive =
            |key: &MacKey| RecoveryToken::of_address(key, reset.person, &creation.email, creation.request.id);
        let response = CreatePasswordResetResponse {
            token: self.token_text(derive, reset.earlier_key),
            expire_time: Some(timestamp(reset.expires_at)),
        };
        sleep_until(next_step(start, Instant::now(), STEP)).await;
        Ok(response)
    }
}

impl RecoveryRpc {
    /// Stores a token if the address has an account.
    async fn create_reset(&self, call: &Call, creation: &ResetCreation) -> Result<CreatedReset, Failure> {
        for _ in 0..TRIES {
            match self.try_create_reset(call, creation).await {
                Err(CreateError::Outdated) => {}
                created => return Ok(created?),
            }
        }
        Err(CreateError::Outdated.into())
    }

    async fn try_create_reset(
        &self,
        call: &Call,
        creation: &ResetCreation,
    ) -> Result<CreatedReset, CreateError> {
        let (email, request) = (&creation.email, &creation.request);
        let lifetime = self.lifetimes.password_reset;
        let canonical = email.canonical();
        let marks = self
            .keys
            .macs(&[b"request", canonical.as_bytes(), request.id.as_bytes()]);
        let quotas = self
            .rate_limit_keys
            .quotas("Recovery", &self.creation_limits, call, Some(email));
        let asked = ResetRequest {
            email_canonical: canonical,
            id: request.id,
            marks: &marks,
        };
        let found = self.recovery.find_address(asked, &quotas, call.deadline).await?;
        if let Some(earlier) = found.earlier {
            let answer = earlier.answer_to::<Created>(METHOD, request);
            let (created, key) = answer.ok_or(CreateError::RequestIdReused)?;
            return Ok(CreatedReset {
                expires_at: created.expires_at()?,
                person: found.user_id,
                earlier_key: Some(key),
            });
        }
        if let Some((noted_at, place)) = found.noted {
            return Ok(CreatedReset {
                expires_at: noted_at + lifetime,
                person: None,
                earlier_key: self.keys.ids().nth(place),
            });
        }
        let at = self.clock.now();
        let derive = |key: &MacKey| RecoveryToken::of_address(key, found.user_id, email, request.id);
        let token = self.new_token(derive, lifetime);
        let origin = self.audit_origins.of(call);
        let expires_at = match found.user_id {
            Some(user_id) => {
                let new = TokenRequest {
                    user_id,
                    request,
                    origin: &origin,
                    at,
                };
                let created = self
                    .recovery
                    .create_password_reset(&new, token, canonical, call.deadline);
                let expires_at = created.await?;
                count(RecoveryKind::PasswordReset, "created");
                expires_at
            }
            None => {
                let noted_at = self.recovery.note_unknown_reset(&marks, call.deadline).await?;
                count(RecoveryKind::PasswordReset, "unknown_address");
                noted_at + lifetime
            }
        };
        Ok(CreatedReset {
            expires_at,
            person: found.user_id,
            earlier_key: None,
        })
    }
}

// === impl ResetCreation ===

impl ResetCreation {
    /// Parses `request`.
    ///
    /// # Errors
    ///
    /// INVALID_FIELD with all violations; EMAIL_INVALID when all of them are of the address.
    fn parse(mut request: CreatePasswordResetRequest, request_mac: &MacKeys) -> Result<Self, Failure> {
        let mut violations = Violations::new();
        let email = email::parse(&request.email, &mut violations);
        // Spellings of an address are one request: whether they are told apart would show whether there is an account.
        if let Some(email) = &email {
            email.canonical().clone_into(&mut request.email);
        }
        let request = RequestKey::take(
            METHOD,
            &mut request,
            |request| &mut request.request_id,
            request_mac,
            &mut violations,
        );
        let email = violations.finish_as(
            |violations| match violations.iter().all(|one| one.field == "email") {
                true => Reason::EmailInvalid,
                false => Reason::InvalidField,
            },
            email,
        )?;
        Ok(Self { email, request })
    }
}

#[cfg(test)]
mod tests {
    use haven_platform::mac::SecretKeys;

    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    fn parse(email: &str, request_id: &str) -> Result<ResetCreation, Failure> {
        let key = MacKeys::derive(&SecretKeys::one([7; 32]), "requests");
        let request = CreatePasswordResetRequest {
            email: email.into(),
            request_id: request_id.into(),
        };
        ResetCreation::parse(request, &key)
    }

    #[test]
    fn spellings_of_an_address_are_one_request() {
        let (a, b) = (
            parse("Ada@Example.org", ID).ok().unwrap(),
            parse("ada@example.org", ID).ok().unwrap(),
        );
        assert_eq!(a.request, b.request);
        let other = parse("eve@example.org", ID).ok().unwrap();
        assert_ne!(a.request, other.request);
    }

    #[test]
    fn everything_wrong_is_reported_at_once() {
        let failure = parse("ada", "").err().unwrap();
        assert_eq!(failure.reason(), Reason::InvalidField);
        assert_eq!(failure.all_violations().len(), 2);
        assert_eq!(parse("ada", ID).err().unwrap().reason(), Reason::EmailInvalid);
    }
}
