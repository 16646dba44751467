//! The secrets for keyed hashes.

use std::path::PathBuf;

use base64::{Engine, engine::general_purpose::STANDARD};
use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::{ConfigProblems, keyed_secrets};
use crate::mac::{KeyId, KeyIdError, SecretKey, SecretKeys, SecretKeysError};

/// The flags of the secrets for keyed hashes.
#[derive(Args, Clone, Debug)]
pub struct SecretKeysArgs {
    /// The secrets for page tokens and keyed hashes: `id:base64,…`, each 32 bytes. The first makes new hashes; all are
    /// accepted, so keep the old ones. A single secret without an id has the id k1
    #[arg(long, env = "SECRET_KEY", value_name = "ID:BASE64,…", hide_env_values = true)]
    pub secret_key: Option<SecretString>,
    /// A file that contains SECRET_KEY
    #[arg(long, env = "SECRET_KEY_FILE", value_name = "FILE")]
    pub secret_key_file: Option<PathBuf>,
}

impl SecretKeysArgs {
    /// Reads and checks the secrets. `None` when they are missing or invalid, which adds a problem.
    pub fn check(&self, problems: &mut ConfigProblems) -> Option<SecretKeys> {
        const NAME: &str = "SECRET_KEY";
        let text = problems.secret(NAME, self.secret_key.as_ref(), self.secret_key_file.as_ref())?;
        problems.take(NAME, parse(&text))
    }
}

/// The reason why a text is not a ring of secrets, without the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum RingError {
    #[error("{0}")]
    Form(&'static str),
    #[error(transparent)]
    Id(#[from] KeyIdError),
    #[error("is not base64: it must be `id:base64,…`, or a single key in base64, which has the id k1")]
    Base64,
    #[error("must have keys of 32 bytes in base64")]
    Length,
    #[error(transparent)]
    Ring(#[from] SecretKeysError),
}

/// Parses `id:base64,id:base64`. A single secret without an id has the id [`KeyId::FIRST`].
fn parse(text: &SecretString) -> Result<SecretKeys, RingError> {
    if !text.expose_secret().contains([':', ',']) {
        return Ok(SecretKeys::new(vec![(KeyId::FIRST, secret(text)?)])?);
    }
    let keys = keyed_secrets(text).map_err(RingError::Form)?;
    let keys = keys
        .iter()
        .map(|(id, text)| Ok((KeyId::parse(id)?, secret(text)?)));
    Ok(SecretKeys::new(keys.collect::<Result<_, RingError>>()?)?)
}

fn secret(text: &SecretString) -> Result<SecretKey, RingError> {
    let bytes = STANDARD.decode(text.expose_secret());
    let bytes = Zeroizing::new(bytes.map_err(|_| RingError::Base64)?);
    let key = bytes.as_slice().try_into().map_err(|_| RingError::Length)?;
    Ok(SecretKey::new(Box::new(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base64(byte: u8) -> String {
        STANDARD.encode([byte; 32])
    }

    fn ids(text: &str) -> Vec<String> {
        let ring = parse(&text.into()).unwrap();
        ring.ids().map(|id| id.to_string()).collect()
    }

    #[test]
    fn a_ring_is_a_list_with_ids_or_one_key_without() {
        let (one, two) = (base64(1), base64(2));
        assert_eq!(ids(&one), ["k1"]);
        assert_eq!(ids(&format!("k2:{two},k1:{one}")), ["k2", "k1"]);
        for (wrong, error) in [
            (String::new(), RingError::Length),
            ("%".to_owned(), RingError::Base64),
            (STANDARD.encode([1; 31]), RingError::Length),
            (format!("k1:{}", STANDARD.encode([1; 31])), RingError::Length),
            (
                format!("{one},{two}"),
                RingError::Form("must be a list of `id:secret`"),
            ),
            (
                format!("k1:{one},k1:{two}"),
                RingError::Form("has a duplicate id"),
            ),
            (
                format!("a:{one},b:{one},c:{one},d:{one},e:{one}"),
                RingError::Ring(SecretKeysError::TooMany),
            ),
        ] {
            assert_eq!(parse(&wrong.as_str().into()).err(), Some(error), "{wrong}");
        }
    }
}
