//! ResetPassword: sets a new password with a token instead of the current password.

use std::mem;

use haven_platform::{
    call::{Call, UserId},
    failure::{Failure, Violation},
    handler::Handler,
    mac::{KeyId, MacKeys, StoredMac},
    reason::Reason,
    request_key::RequestKey,
    time::timestamp,
    violations::{NO_VALUE, Violations},
};
use haven_proto::identity::v1::{ResetPasswordRequest, ResetPasswordResponse};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::{
    RecoveryRpc, count,
    found::{Found, Retry},
    token,
};
use crate::{
    domain::{
        audit::AuditEventType,
        device_token::{DEVICE_TOKEN_LIFETIME, DeviceToken, KeptDevice},
        email::EmailAddress,
        password::{Password, PasswordRule, WrongPassword},
        rate_limit::{FailureKeys, RateLimits},
        recovery::{PasswordReset, RecoveryKind, RecoveryToken, TokenUse},
    },
    hashing::Verdict,
    store::recovery::{FoundToken, UseError, Used},
};

const METHOD: &str = "ResetPassword";
const KIND: RecoveryKind = RecoveryKind::PasswordReset;

/// A partly parsed request: its password is not checked yet.
#[derive(Debug)]
struct ResetForm {
    request: RequestKey,
    token: Option<RecoveryToken>,
    new_password: SecretString,
    violations: Violations,
}

/// The outcome of a reset, and what the device token is derived from.
struct Answer {
    used: Used,
    user_id: UserId,
    /// The id of the stored recovery token.
    token_id: Uuid,
    /// The id of the key that came first in the ring at the reset.
    key: KeyId,
}

impl Handler<ResetPasswordRequest> for RecoveryRpc {
    type Answer = ResetPasswordResponse;

    async fn handle(
        &self,
        call: &Call,
        request: ResetPasswordRequest,
    ) -> Result<ResetPasswordResponse, Failure> {
        self.check_provider()?;
        let mut form = ResetForm::parse(request, &self.request_mac);
        let request = form.request;
        // Without a token there is no account, and no address that the password must not be made from.
        let Some(token) = form.token.take().filter(|_| !request.id.is_nil()) else {
            self.estimator
                .run(call.into(), call.deadline, move || form.check(None))
                .await??;
            return Err(Failure::internal(NO_VALUE));
        };
        let failures = self.rate_limit_keys.recovery_token(&token);
        let method = (METHOD, &request);
        let answer = match self.find(call, &token, KIND, method, Some(&failures)).await? {
            Found::Retry(retry) => {
                // A policy that changed since the first call does not refuse its retry.
                let password = Password::present(form.new_password);
                let password = password.map_err(|_| Failure::new(Reason::RequestIdReused))?;
                self.check_retry(call, retry, password, &failures).await?
            }
            Found::Token(found) => self.reset(call, &token, form, found, &failures).await?,
        };
        let device_key = self.device_keys.get(answer.key);
        let device = DeviceToken::of_reset(device_key, answer.user_id, answer.token_id);
        Ok(ResetPasswordResponse {
            change_time: Some(timestamp(answer.used.at()?)),
            ended_sessions: answer.used.ended_sessions,
            device_token: device.text().expose_secret().to_owned(),
        })
    }
}

impl RecoveryRpc {
    /// Checks the new password against the policy, hashes it, and uses the token. A password that violates the policy does not
    /// use up the token.
    async fn reset(
        &self,
        call: &Call,
        token: &RecoveryToken,
        form: ResetForm,
        found: FoundToken,
        token_failures: &FailureKeys,
    ) -> Result<Answer, Failure> {
        let request = form.request;
        let email = found.email.as_deref().map(EmailAddress::parse);
        let email = email.and_then(Result::ok);
        let judged = email.clone();
        let password = self
            .estimator
            .run(call.into(), call.deadline, move || form.check(judged.as_ref()))
            .await??;
        let hashed = self.passwords.run(call.deadline, move |hasher, memory| {
            hasher.hash(&password, memory).map(|hash| (hash, password))
        });
        let (hash, password) = hashed.await??;
        // The waits after wrong passwords in the caller's network are over: the person can sign in.
        let failures = match &email {
            Some(email) => {
                let keys = &self.rate_limit_keys;
                keys.sign_in(&RateLimits::default(), None, call, email, None).1
            }
            None => FailureKeys::new(std::iter::empty()),
        };
        let at = self.clock.now();
        let key = self.device_keys.first_id();
        let device_key = self.device_keys.get(key);
        let device = DeviceToken::of_reset(device_key, found.user_id, found.id).hash(device_key);
        let reset = PasswordReset {
            token: TokenUse {
                user_id: found.user_id,
                token_id: found.id,
                request: &request,
                origin: &self.audit_origins.of(call),
                at,
            },
            hash: &hash,
            failures: &failures,
            device: KeptDevice {
                id: self.entropy.uuid_v7(&self.clock),
                found: None,
                hash: StoredMac::new(device, key),
                expires_at: at + DEVICE_TOKEN_LIFETIME,
                maximum: self.max_devices,
            },
        };
        match self.recovery.reset_password(&reset, call.deadline).await {
            Ok(reset) => {
                for session in reset.ended {
                    self.ended_sessions.add(found.user_id, session);
                }
                count(KIND, "used");
                Ok(Answer {
                    used: reset.used,
                    user_id: found.user_id,
                    token_id: found.id,
                    key,
                })
            }
            Err(UseError::Outdated) => {
                // Another call with this request id came first. Its password may be another one.
                let method = (METHOD, &request);
                let first = self.first_answer(call, token, KIND, method, Some(token_failures));
                self.check_retry(call, first.await?, password, token_failures)
                    .await
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the first answer when the retry has the same password as the first call. The password is stored only as its slow
    /// hash, so it is checked against that one, unless it was changed since then.
    ///
    /// # Errors
    ///
    /// REQUEST_ID_REUSED when the password is another one. It counts as a wrong password of this token, or else retries could
    /// be used to guess the password.
    async fn check_retry(
        &self,
        call: &Call,
        Retry { found, used, key }: Retry,
        password: Password,
        failures: &FailureKeys,
    ) -> Result<Answer, Failure> {
        let answer = Answer {
            used,
            user_id: found.user_id,
            token_id: found.id,
            key,
        };
        if found.password_version.is_none() || found.password_version != used.password_version {
            return Ok(answer);
        }
        let verdict = self
            .passwords
            .verify(password, found.password_hash, call.deadline);
        if verdict.await? != Verdict::Wrong {
            return Ok(answer);
        }
        let wrong = WrongPassword {
            event: AuditEventType::PasswordReset,
            session_id: None,
            failures,
            origin: &self.audit_origins.of(call),
            at: self.clock.now(),
        };
        self.own_passwords
            .count_wrong(found.user_id, &wrong, call.deadline)
            .await?;
        Err(Failure::new(Reason::RequestIdReused))
    }
}

// === impl ResetForm ===

impl ResetForm {
    /// Parses everything but the password, which is checked in the queue of the estimator.
    fn parse(mut request: ResetPasswordRequest, request_mac: &MacKeys) -> Self {
        let mut violations = Violations::new();
        let new_password = SecretString::from(mem::take(&mut request.new_password));
        let key = RequestKey::take(
            METHOD,
            &mut request,
            |request| &mut request.request_id,
            request_mac,
            &mut violations,
        );
        let token = token::parse(request.token, &mut violations);
        Self {
            request: key,
            token,
            new_password,
            violations,
        }
    }

    /// Checks the new password against the policy, and reports all violations of the request. Computes as long as
    /// [`Password::choose`] does.
    ///
    /// # Errors
    ///
    /// PASSWORD_POLICY when all violations concern the new password; otherwise INVALID_FIELD.
    fn check(self, email: Option<&EmailAddress>) -> Result<Password, Failure> {
        let mut violations = self.violations;
        let violation = |rule: PasswordRule| Violation::new("new_password", rule.name(), rule.description());
        let password = Password::choose(self.new_password, email)
            .map_err(|broken| violations.extend(broken.into_iter().map(violation)))
            .ok();
        violations.finish_as(
            |violations| match violations.iter().all(|one| one.field == "new_password") {
                true => Reason::PasswordPolicy,
                false => Reason::InvalidField,
            },
            password,
        )
    }
}

#[cfg(test)]
mod tests {
    use haven_platform::mac::SecretKeys;

    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    fn form(new_password: &str, request_id: &str) -> ResetForm {
        let key = MacKeys::derive(&SecretKeys::one([7; 32]), "requests");
        let request = ResetPasswordRequest {
            token: "hvt_x".into(),
            new_password: new_password.into(),
            request_id: request_id.into(),
        };
        ResetForm::parse(request, &key)
    }

    #[test]
    fn everything_wrong_is_reported_at_once() {
        let failure = form("hopper", "").check(None).unwrap_err();
        assert_eq!(failure.reason(), Reason::InvalidField);
        let violations = failure.all_violations().iter();
        let violations: Vec<_> = violations.map(|one| (one.field.as_str(), one.name)).collect();
        assert_eq!(
            violations,
            [
                ("request_id", "REQUIRED"),
                ("token", "NOT_A_RECOVERY_TOKEN"),
                ("new_password", "TOO_SHORT"),
                ("new_password", "NO_UPPERCASE"),
                ("new_password", "NO_DIGIT")
            ]
        );
    }

    #[test]
    fn no_password_is_shown_or_hashed_into_the_request_key() {
        let first = form("kX9vQ2wZ", ID);
        assert!(!format!("{first:?}").contains("kX9vQ2wZ"));
        assert_eq!(
            first.request.payload_macs,
            form("qW8eR7tY", ID).request.payload_macs
        );
    }
}
