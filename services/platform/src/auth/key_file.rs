//! The file with an issuer's keys.

use std::{
    fs::File,
    io::{self, Read},
    path::PathBuf,
};

use zeroize::Zeroizing;

use super::{
    jwks::{self, JwksProblem, Published},
    verifying_key::VerifyingKey,
};

/// The maximum size of a file. The largest sets of public issuers have some 20 KiB.
const MAX_BYTES: u64 = 1 << 20;

/// The minimum length of an HS256 secret: that of the hash (RFC 7518, section 3.2).
const MIN_SECRET_BYTES: usize = 32;

/// A file with the keys of an issuer.
#[derive(Clone, Debug)]
pub enum KeyFile {
    /// Public keys: a JSON Web Key Set, or a document in its place.
    Public(PathBuf),
    /// A secret for HS256. Its bytes are used as they are, without the line break that editors put at the end.
    Secret(PathBuf),
}

/// The contents of a file, which may be secret.
pub(super) type Contents = Zeroizing<Vec<u8>>;

/// The reason why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeyFileError {
    #[error("cannot read its file: {0}")]
    Read(#[from] io::Error),
    #[error("its file is larger than 1 MiB")]
    TooLarge,
    #[error("the secret must have at least 32 bytes")]
    ShortSecret,
    #[error("its file: {0}")]
    Keys(#[from] JwksProblem),
}

impl KeyFile {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`] when that fails, or the file is too large.
    pub(super) fn read(&self) -> Result<Contents, KeyFileError> {
        let (Self::Public(path) | Self::Secret(path)) = self;
        let mut contents = Zeroizing::new(Vec::new());
        File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut contents)?;
        match contents.len() as u64 > MAX_BYTES {
            true => Err(KeyFileError::TooLarge),
            false => Ok(contents),
        }
    }

    /// Returns the keys in the contents of the file.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`] when there is no usable key.
    pub(super) fn parse(&self, contents: &Contents) -> Result<Published, KeyFileError> {
        match self {
            Self::Public(_) => Ok(jwks::parse(contents)?),
            Self::Secret(_) => {
                let secret = contents.trim_ascii_end();
                if secret.len() < MIN_SECRET_BYTES {
                    return Err(KeyFileError::ShortSecret);
                }
                Ok(Published {
                    keys: vec![VerifyingKey::from_secret(secret)],
                    skipped: Vec::new(),
                })
            }
        }
    }
}
