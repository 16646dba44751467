//! ChangePassword: another password, and the end of every other session.

use std::mem;

use chrono::DateTime;
use haven_platform::{
    call::{Call, User},
    failure::{Failure, Violation},
    mac::MacKey,
    reason::Reason,
    time::timestamp,
    violations::{NO_VALUE, Violations},
};
use haven_proto::identity::v1::{ChangePasswordRequest, ChangePasswordResponse};
use prost::Message as _;
use secrecy::{ExposeSecret, SecretString};

use crate::rpc::{IdentityRpc, rate_limit_keys::origin};
use crate::{
    domain::{
        account::PasswordHash,
        audit::AuditEventType,
        email::EmailAddress,
        password::{Password, PasswordRule},
        provider::AuthProvider,
    },
    hashing::Verdict,
    store::{
        account::change_password::{ChangeError, NewPassword, PasswordChanged},
        account::reauthentication::{OwnPassword, Proof},
        request::RequestKey,
    },
};

/// A change whose passwords are not looked at yet.
#[derive(Debug)]
struct ChangeForm {
    request: RequestKey,
    current: SecretString,
    new: SecretString,
    violations: Violations,
}

/// A change that can be tried.
#[derive(Debug)]
struct Change {
    current: Password,
    new: Password,
}

impl IdentityRpc {
    pub(in crate::rpc) async fn change_password_of(
        &self,
        call: &Call,
        sent: ChangePasswordRequest,
    ) -> Result<ChangePasswordResponse, Failure> {
        let user = call
            .caller
            .user
            .ok_or_else(|| Failure::new(Reason::AccessDenied))?;
        if self.provider == AuthProvider::External {
            return Err(Failure::new(Reason::AuthProviderExternal));
        }
        let form = ChangeForm::read(sent, &self.requests);
        let request = form.request;
        let own = self.own_password(call, &user, &request).await?;
        let (change, hash) = self.check_change(call, form, &own).await?;
        if own.earlier.is_some() {
            return self.change_again(call, &user, &request, own, change.new).await;
        }
        let Some(hash) = hash else {
            let (event, reason) = (AuditEventType::PasswordChange, Reason::CredentialsInvalid);
            return Err(self.not_proved(call, &user, &own, event, reason).await);
        };
        let new = NewPassword {
            user_id: user.id,
            hash: &hash,
            replaces: own.version,
            request: &request,
            session_id: user.own_session(),
            failures: &own.failures,
            origin: &origin(call, &self.networks),
            at: self.clock.now(),
        };
        match self.own_passwords.change(&new, call.deadline).await {
            Ok((changed, ended)) => {
                for session in ended {
                    self.ended.add(session);
                }
                answer(changed)
            }
            Err(ChangeError::Outdated) => {
                let own = self.own_password(call, &user, &request).await?;
                self.change_again(call, &user, &request, own, change.new).await
            }
            Err(ChangeError::Database(error)) => Err(error.into()),
        }
    }

    async fn own_password(
        &self,
        call: &Call,
        user: &User,
        request: &RequestKey,
    ) -> Result<OwnPassword, Failure> {
        match self.proof_of(call, user, request.id).await? {
            Proof::Password(own) => Ok(own),
            Proof::Elsewhere { .. } => Err(Failure::new(Reason::AuthProviderExternal)),
            Proof::Erased(_) => Err(Failure::new(Reason::AccountErased)),
            Proof::Unknown => Err(Failure::new(Reason::NotFound)),
        }
    }

    /// Says everything that is wrong with a change; then, unless it was made before, checks the current password and hashes
    /// the new one: all in one turn. No hash: the current password is wrong, or was not checked.
    async fn check_change(
        &self,
        call: &Call,
        form: ChangeForm,
        own: &OwnPassword,
    ) -> Result<(Change, Option<PasswordHash>), Failure> {
        let (stored, was_made) = (own.hash.clone(), own.earlier.is_some());
        let email = EmailAddress::parse(&own.email).ok();
        self.passwords
            .run(call.deadline, move |hasher, memory| {
                let change = form.check(email.as_ref())?;
                if was_made || hasher.verify(&change.current, Some(&stored), memory)? == Verdict::Wrong {
                    return Ok((change, None));
                }
                let hash = hasher.hash(&change.new, memory)?;
                Ok((change, Some(hash)))
            })
            .await?
    }

    /// The first answer, when this very request made the change. The new password is part of it and kept only as its slow
    /// hash, so that is what it is checked against; the password before is kept nowhere.
    ///
    /// # Errors
    ///
    /// CREDENTIALS_INVALID when another request changed the password meanwhile; REQUEST_ID_REUSED when this request id
    /// belongs to a request with other content.
    async fn change_again(
        &self,
        call: &Call,
        user: &User,
        request: &RequestKey,
        own: OwnPassword,
        new: Password,
    ) -> Result<ChangePasswordResponse, Failure> {
        let Some(earlier) = &own.earlier else {
            return Err(Failure::new(Reason::CredentialsInvalid));
        };
        let Some(changed) = earlier.answer_to(request) else {
            return Err(Failure::new(Reason::RequestIdReused));
        };
        let stored = Some(own.hash.clone());
        match self.passwords.verify(new, stored, call.deadline).await? {
            Verdict::Right | Verdict::RightButOutdated => answer(changed),
            // Counted, or somebody could guess here.
            Verdict::Wrong => {
                let (event, reason) = (AuditEventType::PasswordChange, Reason::RequestIdReused);
                Err(self.not_proved(call, user, &own, event, reason).await)
            }
        }
    }
}

// === impl ChangeForm ===

impl ChangeForm {
    fn read(mut sent: ChangePasswordRequest, requests: &MacKey) -> Self {
        let mut violations = Violations::new();
        let current = SecretString::from(mem::take(&mut sent.current_password));
        let new = SecretString::from(mem::take(&mut sent.new_password));
        let id = violations.uuid("request_id", &mem::take(&mut sent.request_id));
        let request = RequestKey {
            id,
            payload_mac: requests.mac(&[b"ChangePassword", &sent.encode_to_vec()]),
        };
        Self {
            request,
            current,
            new,
            violations,
        }
    }

    /// Checks the new password against the policy, and says everything that is wrong with the whole. Computes, as
    /// [`Password::choose`] does.
    ///
    /// # Errors
    ///
    /// PASSWORD_POLICY, when the new password is all that is wrong; otherwise INVALID_FIELD.
    fn check(self, email: Option<&EmailAddress>) -> Result<Change, Failure> {
        let violation = |field: &'static str| {
            move |rule: PasswordRule| Violation::new(field, rule.name(), rule.description())
        };
        let mut violations = self.violations;
        if self.new.expose_secret() == self.current.expose_secret() {
            violations.add(Violation::new(
                "new_password",
                "SAME_AS_CURRENT",
                "The new password is another one",
            ));
        }
        let current = Password::present(self.current)
            .map_err(|rule| violations.add(violation("current_password")(rule)))
            .ok();
        let new = Password::choose(self.new, email)
            .map_err(|broken| violations.extend(broken.into_iter().map(violation("new_password"))))
            .ok();
        violations.check_as(|violations| {
            match violations
                .iter()
                .all(|violation| violation.field == "new_password")
            {
                true => Reason::PasswordPolicy,
                false => Reason::InvalidField,
            }
        })?;
        match (current, new) {
            (Some(current), Some(new)) => Ok(Change { current, new }),
            _ => Err(Failure::internal(NO_VALUE)),
        }
    }
}

fn answer(changed: PasswordChanged) -> Result<ChangePasswordResponse, Failure> {
    let changed_at = DateTime::from_timestamp_micros(changed.changed_at_micros)
        .ok_or_else(|| Failure::internal("an answer has no time"))?;
    Ok(ChangePasswordResponse {
        change_time: Some(timestamp(changed_at)),
        ended_sessions: changed.ended_sessions,
    })
}

#[cfg(test)]
mod tests {
    use haven_platform::mac::SecretKey;

    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    fn form(current: &str, new: &str, request_id: &str) -> ChangeForm {
        let key = MacKey::derive(&SecretKey::new(Box::new([7; 32])), "requests");
        let sent = ChangePasswordRequest {
            current_password: current.into(),
            new_password: new.into(),
            request_id: request_id.into(),
        };
        ChangeForm::read(sent, &key)
    }

    fn refused(form: ChangeForm) -> (Reason, Vec<(String, &'static str)>) {
        let email = EmailAddress::parse("grace.hopper1906@example.org").unwrap();
        let failure = form.check(Some(&email)).unwrap_err();
        let found = failure.all_violations().iter();
        let found = found.map(|one| (one.field.clone(), one.name)).collect();
        (failure.reason(), found)
    }

    #[test]
    fn everything_wrong_is_reported_at_once() {
        let (reason, found) = refused(form(&"x".repeat(129), "hopper", ""));
        assert_eq!(reason, Reason::InvalidField);
        let found: Vec<_> = found
            .iter()
            .map(|(field, name)| (field.as_str(), *name))
            .collect();
        assert_eq!(
            found,
            [
                ("request_id", "REQUIRED"),
                ("current_password", "TOO_LONG"),
                ("new_password", "TOO_SHORT"),
                ("new_password", "NO_UPPERCASE"),
                ("new_password", "NO_DIGIT"),
                ("new_password", "GUESSABLE")
            ]
        );
    }

    #[test]
    fn a_new_password_meets_the_policy_and_is_another_one() {
        let new = "new_password".to_owned();
        assert_eq!(
            refused(form("kX9vQ2wZ", "Hopper1906", ID)),
            (Reason::PasswordPolicy, vec![(new.clone(), "GUESSABLE")])
        );
        assert_eq!(
            refused(form("kX9vQ2wZ", "kX9vQ2wZ", ID)),
            (Reason::PasswordPolicy, vec![(new, "SAME_AS_CURRENT")])
        );
        // The current one need not meet today's policy.
        assert!(form("old", "kX9vQ2wZ", ID).check(None).is_ok());
    }

    #[test]
    fn no_password_is_shown_or_kept_as_a_fast_hash() {
        let form = |new| form("kX9vQ2wZ", new, ID);
        assert!(!format!("{:?}", form("qW8eR7tY")).contains("kX9vQ2wZ"));
        assert_eq!(
            form("qW8eR7tY").request.payload_mac,
            form("aS4dF5gH").request.payload_mac
        );
    }
}
