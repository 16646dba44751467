//! The trusted token issuers beside Haven's own.

use std::{collections::HashMap, sync::Arc};

use secrecy::{ExposeSecret, SecretString};

use super::{jwks, token_problem::TokenProblem, verifying_key::VerifyingKey};

/// The minimum length of an HS256 secret: that of the hash (RFC 7518, section 3.2).
const MIN_SECRET_BYTES: usize = 32;

/// A trusted issuer. Its keys verify its own tokens only.
#[derive(Clone, Debug)]
pub struct TrustedIssuer {
    name: String,
    keys: Keys,
}

#[derive(Clone, Debug)]
enum Keys {
    /// The public keys by key id, each for one algorithm.
    Public(Arc<HashMap<String, VerifyingKey>>),
    /// The secret for HS256.
    Secret(VerifyingKey),
}

impl TrustedIssuer {
    /// Creates an issuer with `name` as the `iss` of its tokens, with the public keys of a JSON Web Key Set (RFC 7517).
    ///
    /// # Errors
    ///
    /// All problems of the set. Their texts contain no part of it except key ids.
    pub fn with_jwks(name: &str, json: &str) -> Result<Self, Vec<String>> {
        let keys = jwks::parse(json)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        Ok(Self {
            name: name.to_owned(),
            keys: Keys::Public(Arc::new(keys)),
        })
    }

    /// Creates an issuer with `name` as the `iss` of its tokens, with a secret for HS256. Its bytes are used as they
    /// are.
    ///
    /// # Errors
    ///
    /// A description when the secret is too short.
    pub fn with_secret(name: &str, secret: &SecretString) -> Result<Self, &'static str> {
        let secret = secret.expose_secret().as_bytes();
        if secret.len() < MIN_SECRET_BYTES {
            return Err("the secret must have at least 32 bytes");
        }
        Ok(Self {
            name: name.to_owned(),
            keys: Keys::Secret(VerifyingKey::from_secret(secret)),
        })
    }

    /// Returns the `iss` of the issuer's tokens.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the key that must have signed a token with the key id `id`.
    pub(super) fn key(&self, id: Option<&str>) -> Result<&VerifyingKey, TokenProblem> {
        match &self.keys {
            Keys::Public(keys) => id.and_then(|id| keys.get(id)).ok_or(TokenProblem::KeyUnknown),
            Keys::Secret(key) => Ok(key),
        }
    }
}
