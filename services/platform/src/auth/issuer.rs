//! Others whose tokens are accepted beside our own.

use std::{collections::HashMap, sync::Arc};

use secrecy::{ExposeSecret, SecretString};

use super::{jwks, token_problem::TokenProblem, verifying_key::VerifyingKey};

/// The shortest secret for HS256: as long as the hash (RFC 7518, section 3.2).
const MIN_SECRET_BYTES: usize = 32;

/// Somebody who makes tokens that are accepted here. Their keys are for their own tokens and for nobody else's.
#[derive(Clone, Debug)]
pub struct TrustedIssuer {
    name: String,
    keys: Keys,
}

#[derive(Clone, Debug)]
enum Keys {
    /// Public keys, each with its own algorithm.
    Public(Arc<HashMap<String, VerifyingKey>>),
    /// One secret for HS256.
    Secret(VerifyingKey),
}

impl TrustedIssuer {
    /// The issuer that is called `name` in its tokens, with the public keys of a JSON Web Key Set (RFC 7517).
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the set. Nothing of it repeats what is in it but the names of keys.
    pub fn with_jwks(name: &str, json: &str) -> Result<Self, Vec<String>> {
        let keys = jwks::parse(json)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        Ok(Self {
            name: name.to_owned(),
            keys: Keys::Public(Arc::new(keys)),
        })
    }

    /// The issuer that is called `name` in its tokens, with a secret for HS256, of which every byte counts as it is.
    ///
    /// # Errors
    ///
    /// When the secret is too short.
    pub fn with_secret(name: &str, secret: &SecretString) -> Result<Self, &'static str> {
        let secret = secret.expose_secret().as_bytes();
        if secret.len() < MIN_SECRET_BYTES {
            return Err("the secret has to have at least 32 bytes");
        }
        Ok(Self {
            name: name.to_owned(),
            keys: Keys::Secret(VerifyingKey::from_secret(secret)),
        })
    }

    /// What its tokens carry as `iss`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The key that a token with this `kid` has to be signed with.
    pub(super) fn key(&self, id: Option<&str>) -> Result<&VerifyingKey, TokenProblem> {
        match &self.keys {
            Keys::Public(keys) => id.and_then(|id| keys.get(id)).ok_or(TokenProblem::KeyUnknown),
            Keys::Secret(key) => Ok(key),
        }
    }
}
