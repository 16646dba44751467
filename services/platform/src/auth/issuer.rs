//! The trusted token issuers beside Haven's own.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{
    claim_rules::ClaimRules, issuer_keys::IssuerKeys, key_address::KeyAddress, key_file::KeyFile,
    token::Token, verifying_key::VerifyingKey,
};
use crate::{deadline::Deadline, failure::Failure};

/// A trusted issuer. Its keys verify its own tokens only.
#[derive(Clone, Debug)]
pub struct TrustedIssuer {
    name: Arc<str>,
    rules: Arc<ClaimRules>,
    keys: Arc<IssuerKeys>,
}

impl TrustedIssuer {
    /// Creates an issuer with `name` as the `iss` of its tokens, which must follow `rules`. Its keys come from `file`, from
    /// `address`, or from `address` with `file` as the fallback. The file is read here.
    ///
    /// # Errors
    ///
    /// A description when the file cannot be used. It contains no part of the file except key ids.
    pub fn new(
        name: &str,
        rules: ClaimRules,
        file: Option<KeyFile>,
        address: Option<KeyAddress>,
    ) -> Result<Self, String> {
        let keys = IssuerKeys::load(name, file, address).map_err(|error| error.to_string())?;
        Ok(Self {
            name: name.into(),
            rules: Arc::new(rules),
            keys: Arc::new(keys),
        })
    }

    /// Returns the `iss` of the issuer's tokens.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Returns the rules for the claims of the issuer's tokens.
    pub(super) fn rules(&self) -> &Arc<ClaimRules> {
        &self.rules
    }

    /// Returns the keys of which one must have signed `token`.
    ///
    /// # Errors
    ///
    /// TOKEN_INVALID with KEY_UNKNOWN or ALGORITHM; DEPENDENCY_UNAVAILABLE when no keys have arrived yet.
    pub(super) async fn keys(
        &self,
        token: &Token<'_>,
        deadline: Deadline,
    ) -> Result<Vec<VerifyingKey>, Failure> {
        self.keys
            .candidates(token.key_id.as_deref(), token.algorithm, deadline)
            .await
    }

    /// Returns whether this very key is one of those that may have signed a token with the key id `id` now.
    pub(super) fn holds(&self, id: Option<&str>, key: &VerifyingKey) -> bool {
        self.keys.holds(id, key)
    }

    /// Reads the file of keys now.
    #[cfg(test)]
    pub(super) fn read_file(&self) {
        self.keys.read_file().unwrap();
    }

    /// Keeps the keys up to date until `stop` is cancelled.
    pub(crate) async fn keep_fresh(self, stop: CancellationToken) {
        self.keys.keep_fresh(stop).await;
    }
}
