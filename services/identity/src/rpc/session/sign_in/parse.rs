//! What somebody sends to begin a session, parsed.

use std::mem;

use haven_platform::{
    failure::{Failure, Violation},
    mac::MacKey,
    violations::{NO_VALUE, Violations},
};
use haven_proto::identity::v1::SignInRequest;
use prost::Message as _;
use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::rpc::account::goals as parsing;
use crate::{
    domain::{email::EmailAddress, password::Password},
    store::request::RequestKey,
};

/// A sign-in that can be tried.
#[derive(Debug)]
pub(in crate::rpc) struct SignIn {
    pub(in crate::rpc) request: RequestKey,
    pub(in crate::rpc) email: EmailAddress,
    pub(in crate::rpc) password: Password,
}

impl SignIn {
    /// Parses all of it. What cannot be anybody's email address or password is refused before it costs anything.
    ///
    /// # Errors
    ///
    /// INVALID_FIELD.
    pub(in crate::rpc) fn parse(mut sent: SignInRequest, requests: &MacKey) -> Result<Self, Failure> {
        let mut violations = Violations::new();
        let password = SecretString::from(mem::take(&mut sent.password));
        let id = violations.uuid("request_id", &mem::take(&mut sent.request_id));
        let payload = Zeroizing::new(sent.encode_to_vec());
        let request = RequestKey {
            id,
            payload_mac: requests.mac(&[b"SignIn", &payload]),
        };
        let email = parsing::email(&sent.email, &mut violations);
        let password = Password::present(password)
            .map_err(|rule| violations.add(Violation::new("password", rule.name(), rule.description())))
            .ok();
        violations.check()?;
        match (email, password) {
            (Some(email), Some(password)) => Ok(Self {
                request,
                email,
                password,
            }),
            _ => Err(Failure::internal(NO_VALUE)),
        }
    }
}

#[cfg(test)]
mod tests {
    use haven_platform::mac::SecretKey;

    use super::*;

    #[test]
    fn everything_wrong_is_reported_at_once() {
        let key = MacKey::derive(&SecretKey::new(Box::new([7; 32])), "requests");
        let sent = SignInRequest {
            email: "ada".into(),
            password: "x".repeat(129),
            request_id: String::new(),
        };
        let failure = SignIn::parse(sent, &key).unwrap_err();
        let found: Vec<_> = failure
            .all_violations()
            .iter()
            .map(|one| (one.field.as_str(), one.name))
            .collect();
        assert_eq!(
            found,
            [
                ("request_id", "REQUIRED"),
                ("email", "NO_AT_SIGN"),
                ("password", "TOO_LONG")
            ]
        );
    }
}
