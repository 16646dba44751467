//! Peppers: secrets that are hashed with every password and stored outside the database, so that the hashes alone are
//! useless. Several peppers can be configured, so that the pepper can be changed: new hashes use the first one, checks
//! use all.

use std::fmt;

use argon2::KeyId;
use base64::{Engine, engine::general_purpose::STANDARD};
use haven_platform::config::keyed_secrets;
use secrecy::{ExposeSecret, SecretSlice, SecretString};

/// The minimum length of a pepper, in bytes.
const MIN_BYTES: usize = 32;

/// A pepper and its id, which hashes refer to.
pub struct Pepper {
    id: KeyId,
    secret: SecretSlice<u8>,
}

/// All peppers that stored hashes may refer to.
pub struct Peppers {
    current: Pepper,
    earlier: Vec<Pepper>,
}

/// The error when a list of peppers cannot be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeppersError {
    /// The list is not of the form `id:secret,id:secret`.
    #[error("{0}")]
    Form(&'static str),
    /// A secret is not base64, or is too short.
    #[error("has a secret that is not at least 32 bytes in base64")]
    Secret,
}

// === impl Peppers ===

impl Peppers {
    /// Parses a list of the form `id:base64,id:base64`.
    ///
    /// # Errors
    ///
    /// [`PeppersError`], which does not contain the values.
    pub fn parse(list: &SecretString) -> Result<Self, PeppersError> {
        let secrets = keyed_secrets(list).map_err(PeppersError::Form)?;
        let mut all = secrets.iter().map(|(id, encoded)| Pepper::parse(id, encoded));
        let current = all.next().ok_or(PeppersError::Secret)??;
        Ok(Self {
            current,
            earlier: all.collect::<Result<_, _>>()?,
        })
    }

    /// The pepper of new hashes.
    pub(super) fn current(&self) -> &Pepper {
        &self.current
    }

    /// The pepper with the id.
    pub(super) fn get(&self, id: &[u8]) -> Option<&Pepper> {
        std::iter::once(&self.current)
            .chain(&self.earlier)
            .find(|pepper| pepper.id.as_bytes() == id)
    }
}

impl fmt::Debug for Peppers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Peppers([redacted])")
    }
}

// === impl Pepper ===

impl Pepper {
    fn parse(id: &str, encoded: &SecretString) -> Result<Self, PeppersError> {
        let id = KeyId::new(id.as_bytes()).map_err(|_| PeppersError::Form("has an id that is too long"))?;
        let secret = STANDARD
            .decode(encoded.expose_secret())
            .map_err(|_| PeppersError::Secret)?;
        let secret = SecretSlice::from(secret);
        match secret.expose_secret().len() {
            ..MIN_BYTES => Err(PeppersError::Secret),
            _ => Ok(Self { id, secret }),
        }
    }

    pub(super) fn id(&self) -> KeyId {
        self.id
    }

    pub(super) fn expose(&self) -> &[u8] {
        self.secret.expose_secret()
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(list: &str) -> Result<Peppers, PeppersError> {
        Peppers::parse(&list.into())
    }

    #[test]
    fn the_first_pepper_is_current_and_all_are_found() {
        let secret = |byte: u8| STANDARD.encode([byte; 32]);
        let peppers = parse(&format!("b:{}, a:{}", secret(2), secret(1))).unwrap();
        assert_eq!(peppers.current().id().as_bytes(), b"b");
        assert_eq!(peppers.get(b"a").unwrap().expose(), [1; 32]);
        assert!(peppers.get(b"c").is_none());
        assert!(peppers.get(b"").is_none());
        assert_eq!(format!("{peppers:?}"), "Peppers([redacted])");
    }

    #[test]
    fn malformed_peppers_are_refused() {
        assert!(matches!(parse("").err(), Some(PeppersError::Form(_))));
        assert_eq!(parse("a:?").err(), Some(PeppersError::Secret));
        assert_eq!(
            parse(&format!("a:{}", STANDARD.encode([1; 31]))).err(),
            Some(PeppersError::Secret)
        );
    }
}
