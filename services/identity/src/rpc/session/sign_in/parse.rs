//! The parsing of SignIn.

use std::mem;

use haven_platform::{
    failure::{Failure, Violation},
    mac::MacKeys,
    request_key::RequestKey,
    violations::Violations,
};
use haven_proto::identity::v1::SignInRequest;
use secrecy::{ExposeSecret, SecretString};

use crate::{
    domain::{device_token::DeviceToken, email::EmailAddress, password::Password},
    rpc::email,
};

/// A parsed SignIn request.
#[derive(Debug)]
pub(super) struct SignIn {
    pub(super) request: RequestKey,
    pub(super) email: EmailAddress,
    pub(super) password: Password,
    /// The device token. `None` when there is none, or it has another form.
    pub(super) device: Option<DeviceToken>,
}

impl SignIn {
    /// Parses `request`. Values that no account can have as email address or password are refused before anything
    /// expensive.
    ///
    /// # Errors
    ///
    /// INVALID_FIELD with all violations.
    pub(super) fn parse(mut request: SignInRequest, request_mac: &MacKeys) -> Result<Self, Failure> {
        let mut violations = Violations::new();
        let password = SecretString::from(mem::take(&mut request.password));
        let device = SecretString::from(request.device_token.clone());
        let device = DeviceToken::parse(device.expose_secret());
        let key = RequestKey::take(
            "SignIn",
            &mut request,
            |request| &mut request.request_id,
            request_mac,
            &mut violations,
        );
        let email = email::parse(&request.email, &mut violations);
        let password = Password::present(password)
            .map_err(|rule| violations.add(Violation::new("password", rule.name(), rule.description())))
            .ok();
        let (email, password) = violations.finish(email.zip(password))?;
        Ok(Self {
            request: key,
            email,
            password,
            device,
        })
    }
}

#[cfg(test)]
mod tests {
    use haven_platform::mac::SecretKeys;

    use super::*;

    #[test]
    fn everything_wrong_is_reported_at_once() {
        let key = MacKeys::derive(&SecretKeys::one([7; 32]), "requests");
        let request = SignInRequest {
            email: "ada".into(),
            password: "x".repeat(129),
            request_id: String::new(),
            ..SignInRequest::default()
        };
        let failure = SignIn::parse(request, &key).unwrap_err();
        let violations: Vec<_> = failure
            .all_violations()
            .iter()
            .map(|one| (one.field.as_str(), one.name))
            .collect();
        assert_eq!(
            violations,
            [
                ("request_id", "REQUIRED"),
                ("email", "NO_AT_SIGN"),
                ("password", "TOO_LONG")
            ]
        );
    }
}
