//! The parsing of ChangePassword.

use std::mem;

use haven_platform::{
    failure::{Failure, Violation},
    mac::MacKeys,
    reason::Reason,
    request_key::RequestKey,
    violations::{NO_VALUE, Violations},
};
use haven_proto::identity::v1::ChangePasswordRequest;
use secrecy::{ExposeSecret, SecretString};

use crate::domain::{
    email::EmailAddress,
    password::{Password, PasswordRule},
};

/// A partly parsed request: its passwords are not checked yet.
#[derive(Debug)]
pub(super) struct ChangeForm {
    pub(super) request: RequestKey,
    current: SecretString,
    new: SecretString,
    violations: Violations,
}

/// The passwords of a request without violations.
#[derive(Debug)]
pub(super) struct ChangedPasswords {
    pub(super) current: Password,
    pub(super) new: Password,
}

impl ChangeForm {
    /// Parses everything but the passwords, which are checked in the hashing queue.
    pub(super) fn parse(mut request: ChangePasswordRequest, request_mac: &MacKeys) -> Self {
        let mut violations = Violations::new();
        let current = SecretString::from(mem::take(&mut request.current_password));
        let new = SecretString::from(mem::take(&mut request.new_password));
        let request = RequestKey::take(
            "ChangePassword",
            &mut request,
            |request| &mut request.request_id,
            request_mac,
            &mut violations,
        );
        Self {
            request,
            current,
            new,
            violations,
        }
    }

    /// Takes the new password of a retry. The policy does not apply: it may have changed since.
    ///
    /// # Errors
    ///
    /// REQUEST_ID_REUSED when the password cannot be that of a request that was made before.
    pub(super) fn repeated(self) -> Result<Password, Failure> {
        Password::present(self.new).map_err(|_| Failure::new(Reason::RequestIdReused))
    }

    /// Checks the new password against the policy, and reports all violations of the request. Computes as long as
    /// [`Password::choose`] does.
    ///
    /// # Errors
    ///
    /// PASSWORD_POLICY when all violations concern the new password; otherwise INVALID_FIELD.
    pub(super) fn check(self, email: Option<&EmailAddress>) -> Result<ChangedPasswords, Failure> {
        let violation = |field: &'static str| {
            move |rule: PasswordRule| Violation::new(field, rule.name(), rule.description())
        };
        let mut violations = self.violations;
        if self.new.expose_secret() == self.current.expose_secret() {
            violations.add(Violation::new(
                "new_password",
                "SAME_AS_CURRENT",
                "new_password must differ from current_password",
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
            (Some(current), Some(new)) => Ok(ChangedPasswords { current, new }),
            _ => Err(Failure::internal(NO_VALUE)),
        }
    }
}

#[cfg(test)]
mod tests {
    use haven_platform::mac::SecretKeys;

    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    fn form(current: &str, new: &str, request_id: &str) -> ChangeForm {
        let key = MacKeys::derive(&SecretKeys::one([7; 32]), "requests");
        let request = ChangePasswordRequest {
            current_password: current.into(),
            new_password: new.into(),
            request_id: request_id.into(),
        };
        ChangeForm::parse(request, &key)
    }

    fn refusal(form: ChangeForm) -> (Reason, Vec<(String, &'static str)>) {
        let email = EmailAddress::parse("grace.hopper1906@example.org").unwrap();
        let failure = form.check(Some(&email)).unwrap_err();
        let violations = failure.all_violations().iter();
        let violations = violations.map(|one| (one.field.clone(), one.name)).collect();
        (failure.reason(), violations)
    }

    #[test]
    fn everything_wrong_is_reported_at_once() {
        let (reason, violations) = refusal(form(&"x".repeat(129), "hopper", ""));
        assert_eq!(reason, Reason::InvalidField);
        let violations: Vec<_> = violations
            .iter()
            .map(|(field, name)| (field.as_str(), *name))
            .collect();
        assert_eq!(
            violations,
            [
                ("request_id", "REQUIRED"),
                ("current_password", "TOO_LONG"),
                ("new_password", "TOO_SHORT"),
                ("new_password", "NO_UPPERCASE"),
                ("new_password", "NO_DIGIT")
            ]
        );
    }

    #[test]
    fn a_new_password_meets_the_policy_and_differs_from_the_current_one() {
        let new = "new_password".to_owned();
        assert_eq!(
            refusal(form("kX9vQ2wZ", "Hopper1906", ID)),
            (Reason::PasswordPolicy, vec![(new.clone(), "GUESSABLE")])
        );
        assert_eq!(
            refusal(form("kX9vQ2wZ", "kX9vQ2wZ", ID)),
            (Reason::PasswordPolicy, vec![(new, "SAME_AS_CURRENT")])
        );
        // The current one need not meet today's policy.
        assert!(form("old", "kX9vQ2wZ", ID).check(None).is_ok());
    }

    #[test]
    fn a_retry_is_read_without_the_policy() {
        assert!(form("kX9vQ2wZ", "weak", ID).repeated().is_ok());
        let failure = form("kX9vQ2wZ", &"x".repeat(129), ID).repeated().unwrap_err();
        assert_eq!(failure.reason(), Reason::RequestIdReused);
    }

    #[test]
    fn no_password_is_shown_or_hashed_into_the_request_key() {
        let form = |new| form("kX9vQ2wZ", new, ID);
        assert!(!format!("{:?}", form("qW8eR7tY")).contains("kX9vQ2wZ"));
        assert_eq!(
            form("qW8eR7tY").request.payload_macs,
            form("aS4dF5gH").request.payload_macs
        );
    }
}
