//! Tokens in requests, and new tokens.

use chrono::TimeDelta;
use haven_platform::{
    failure::{Failure, Violation},
    mac::{KeyId, MacKey, StoredMac},
    reason::Reason,
    violations::Violations,
};
use secrecy::{ExposeSecret, SecretString};

use super::RecoveryRpc;
use crate::domain::{
    provider::AuthProvider,
    recovery::{NewRecoveryToken, RecoveryToken},
};

/// Parses the field `token`. `None` when it is malformed; `violations` says so.
pub(super) fn parse(token: String, violations: &mut Violations) -> Option<RecoveryToken> {
    const FIELD: &str = "token";
    let text = SecretString::from(token);
    if text.expose_secret().is_empty() {
        violations.required(FIELD);
        return None;
    }
    let token = RecoveryToken::parse(text.expose_secret());
    if token.is_none() {
        violations.add(Violation::new(
            FIELD,
            "NOT_A_RECOVERY_TOKEN",
            "token must be a recovery token that this service created",
        ));
    }
    token
}

impl RecoveryRpc {
    /// Refuses a call where another provider manages accounts.
    ///
    /// # Errors
    ///
    /// AUTH_PROVIDER_EXTERNAL.
    pub(super) fn check_provider(&self) -> Result<(), Failure> {
        match self.provider {
            AuthProvider::Haven => Ok(()),
            AuthProvider::External => Err(Failure::new(Reason::AuthProviderExternal)),
        }
    }

    /// The token to store that `derive` derives from the first key of the ring.
    pub(super) fn new_token(
        &self,
        derive: impl FnOnce(&MacKey) -> RecoveryToken,
        lifetime: TimeDelta,
    ) -> NewRecoveryToken {
        let id = self.keys.first_id();
        let key = self.keys.get(id);
        NewRecoveryToken {
            id: self.entropy.uuid_v7(&self.clock),
            hash: StoredMac::new(derive(key).hash(key), id),
            lifetime,
        }
    }

    /// The text of the token that `derive` derives from the key `id`, or from the first one.
    pub(super) fn token_text(
        &self,
        derive: impl FnOnce(&MacKey) -> RecoveryToken,
        id: Option<KeyId>,
    ) -> String {
        let key = self.keys.get(id.unwrap_or(self.keys.first_id()));
        derive(key).text().expose_secret().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_token_is_an_invalid_field() {
        for (text, name) in [
            ("", "REQUIRED"),
            ("hvt_x", "NOT_A_RECOVERY_TOKEN"),
            (" ", "NOT_A_RECOVERY_TOKEN"),
        ] {
            let mut violations = Violations::new();
            assert!(parse(text.into(), &mut violations).is_none());
            let failure = violations.check().unwrap_err();
            assert_eq!(failure.reason(), Reason::InvalidField);
            assert_eq!(failure.all_violations()[0].name, name);
        }
    }
}
