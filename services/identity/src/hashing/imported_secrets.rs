//! The settings of imported hashes: the bounds of their checks, and the secrets that some were made with elsewhere.

use std::{collections::HashMap, fmt};

use base64::{Engine, engine::general_purpose::STANDARD};
use haven_platform::config::keyed_secrets;
use secrecy::{ExposeSecret, SecretSlice, SecretString};

use super::stored_hash::Bounds;

/// The settings of imported hashes.
#[derive(Debug, Default)]
pub struct Imported {
    /// The bounds of a check.
    pub bounds: Bounds,
    /// The secrets that hashes were made with.
    pub secrets: ImportedSecrets,
}

/// Secrets that imported hashes were made with, by id: the signer key of a Firebase project, the pepper of Devise.
#[derive(Default)]
pub struct ImportedSecrets(HashMap<String, SecretSlice<u8>>);

/// The error when a list of secrets cannot be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportedSecretsError {
    /// The list is not of the form `id:secret,id:secret`.
    #[error("{0}")]
    Form(&'static str),
    /// A secret is not base64, or is empty.
    #[error("has a secret that is not base64, or is empty; write text as base64 too")]
    Secret,
}

// === impl ImportedSecrets ===

impl ImportedSecrets {
    /// Parses a list of the form `id:base64,id:base64`.
    ///
    /// # Errors
    ///
    /// [`ImportedSecretsError`], which does not contain the values.
    pub fn parse(list: &SecretString) -> Result<Self, ImportedSecretsError> {
        let secrets = keyed_secrets(list).map_err(ImportedSecretsError::Form)?;
        let decoded = secrets.into_iter().map(|(id, encoded)| {
            let secret = STANDARD
                .decode(encoded.expose_secret())
                .map_err(|_| ImportedSecretsError::Secret)?;
            match secret.is_empty() {
                true => Err(ImportedSecretsError::Secret),
                false => Ok((id, SecretSlice::from(secret))),
            }
        });
        Ok(Self(decoded.collect::<Result<_, _>>()?))
    }

    /// The secret with the id.
    pub(super) fn get(&self, id: &str) -> Option<&[u8]> {
        self.0.get(id).map(ExposeSecret::expose_secret)
    }
}

impl fmt::Debug for ImportedSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ImportedSecrets([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_found_by_their_id_and_are_not_shown() {
        let parse = |list: &str| ImportedSecrets::parse(&list.into());
        let secrets = parse("fire:AAEC, devise:cGVwcGVy").unwrap();
        assert_eq!(secrets.get("fire"), Some([0, 1, 2].as_slice()));
        assert_eq!(secrets.get("devise"), Some(b"pepper".as_slice()));
        assert_eq!(secrets.get("x"), None);
        assert_eq!(format!("{secrets:?}"), "ImportedSecrets([redacted])");
        assert!(matches!(parse("x").err(), Some(ImportedSecretsError::Form(_))));
        for wrong in ["a:?", "a:"] {
            assert_eq!(parse(wrong).err(), Some(ImportedSecretsError::Secret), "{wrong}");
        }
    }
}
