//! How a device encrypted something, as far as the server can check it without a key.

use std::{borrow::Cow, ops::RangeInclusive};

use uuid::Uuid;

use super::plaintext::{TAG_BYTES, is_readable};

/// A payload, and how it was encrypted.
#[derive(Clone, PartialEq, Eq)]
pub struct Encrypted {
    /// What a device made of the content. At least a tag.
    pub payload: Vec<u8>,
    /// How.
    pub envelope: Envelope,
}

/// How a payload was encrypted. What is here has passed every check that there is.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    /// What with.
    pub algorithm: Algorithm,
    /// The key's id: a device's, or one that a client made up for a share.
    pub key_id: Uuid,
    /// The key's version, 1 or more.
    pub key_version: i32,
    /// Of the algorithm's length.
    pub nonce: Vec<u8>,
    /// 16 to 64 bytes.
    pub salt: Vec<u8>,
    /// How the key was derived from what a person knows.
    pub key_derivation: KeyDerivation,
}

/// An authenticated encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03).
    XChaCha20Poly1305,
    /// AES-256-GCM (NIST SP 800-38D).
    Aes256Gcm,
}

/// The parameters of argon2id (RFC 9106).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyDerivation {
    /// The memory, in KiB.
    pub memory_kib: i32,
    /// The passes.
    pub iterations: i32,
    /// The lanes.
    pub parallelism: i32,
}

/// The one version of envelopes.
pub const ENVELOPE_VERSION: i16 = 1;

/// The one layout of associated data.
pub const ASSOCIATED_DATA_VERSION: i16 = 1;

/// How many bytes a salt has.
const SALT_BYTES: RangeInclusive<usize> = 16..=64;

/// How much memory a key derivation takes, in KiB. The least is what OWASP asks of argon2id, as are the least passes;
/// the most is what a small device can still do.
const MEMORY_KIB: RangeInclusive<i32> = 19_456..=1_048_576;

/// How many passes it makes.
const ITERATIONS: RangeInclusive<i32> = 2..=64;

/// How many lanes it has.
const PARALLELISM: RangeInclusive<i32> = 1..=16;

/// What is wrong with an envelope, or with a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvelopeProblem {
    /// There is no such version of envelopes.
    EnvelopeVersion,
    /// There is no such algorithm, or it is not allowed.
    Algorithm,
    /// A device encrypts under its own key, and this is another.
    KeyOfAnotherDevice,
    /// A key's first version is 1.
    KeyVersion,
    /// The nonce is not as long as its algorithm wants it.
    NonceLength,
    /// The salt is too short or too long.
    SaltLength,
    /// The key derivation takes too little memory, or too much.
    Memory,
    /// It makes too few passes, or too many.
    Iterations,
    /// It has too few lanes, or too many.
    Parallelism,
    /// There is no such layout of associated data.
    AssociatedDataVersion,
    /// The payload is no tag even.
    PayloadTooShort,
    /// The payload has more bytes than are taken here.
    PayloadTooLarge {
        /// How many are.
        most: usize,
    },
    /// The payload is readable.
    PayloadNotEncrypted,
}

/// Looks at a payload of at most `most` bytes.
///
/// # Errors
///
/// When it cannot be a ciphertext.
pub fn check_payload(payload: &[u8], most: usize) -> Result<(), EnvelopeProblem> {
    if payload.len() < TAG_BYTES {
        Err(EnvelopeProblem::PayloadTooShort)
    } else if payload.len() > most {
        Err(EnvelopeProblem::PayloadTooLarge { most })
    } else if is_readable(payload) {
        Err(EnvelopeProblem::PayloadNotEncrypted)
    } else {
        Ok(())
    }
}

/// Looks at the version of an envelope.
///
/// # Errors
///
/// When it is another than [`ENVELOPE_VERSION`].
pub fn check_envelope_version(version: i32) -> Result<(), EnvelopeProblem> {
    require(
        version == i32::from(ENVELOPE_VERSION),
        EnvelopeProblem::EnvelopeVersion,
    )
}

/// Looks at the version of a layout of associated data.
///
/// # Errors
///
/// When it is another than [`ASSOCIATED_DATA_VERSION`].
pub fn check_associated_data_version(version: i32) -> Result<(), EnvelopeProblem> {
    require(
        version == i32::from(ASSOCIATED_DATA_VERSION),
        EnvelopeProblem::AssociatedDataVersion,
    )
}

/// Looks at the version of a key.
///
/// # Errors
///
/// When there is no such version of any key. Which one a device's key has is the database's to say.
pub fn check_key_version(version: i32) -> Result<(), EnvelopeProblem> {
    require(version >= 1, EnvelopeProblem::KeyVersion)
}

/// Looks at a nonce. Of an unknown algorithm it has to have the length that some algorithm wants.
///
/// # Errors
///
/// When it has another length.
pub fn check_nonce(algorithm: Option<Algorithm>, nonce: &[u8]) -> Result<(), EnvelopeProblem> {
    let fits = |algorithm: &Algorithm| algorithm.nonce_bytes() == nonce.len();
    let fine = algorithm
        .as_ref()
        .map_or_else(|| Algorithm::ALL.iter().any(fits), fits);
    require(fine, EnvelopeProblem::NonceLength)
}

/// Looks at a salt.
///
/// # Errors
///
/// When it is too short or too long.
pub fn check_salt(salt: &[u8]) -> Result<(), EnvelopeProblem> {
    require(SALT_BYTES.contains(&salt.len()), EnvelopeProblem::SaltLength)
}

fn require(fine: bool, problem: EnvelopeProblem) -> Result<(), EnvelopeProblem> {
    match fine {
        true => Ok(()),
        false => Err(problem),
    }
}

// === impl EnvelopeProblem ===

impl EnvelopeProblem {
    /// The stable name of the violation.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EnvelopeVersion | Self::AssociatedDataVersion => "UNKNOWN_VERSION",
            Self::Algorithm => "UNKNOWN_VALUE",
            Self::KeyOfAnotherDevice => "KEY_OF_ANOTHER_DEVICE",
            Self::KeyVersion | Self::Memory | Self::Iterations | Self::Parallelism => "OUT_OF_RANGE",
            Self::NonceLength => "NONCE_LENGTH",
            Self::SaltLength => "SALT_LENGTH",
            Self::PayloadTooShort => "PAYLOAD_TOO_SHORT",
            Self::PayloadTooLarge { .. } => "PAYLOAD_TOO_LARGE",
            Self::PayloadNotEncrypted => "PAYLOAD_NOT_ENCRYPTED",
        }
    }

    /// The violation, for a developer to read.
    #[must_use]
    pub fn description(self) -> Cow<'static, str> {
        let description = match self {
            Self::EnvelopeVersion => "The version of envelopes is 1",
            Self::Algorithm => "This has to be XCHACHA20_POLY1305 or AES_256_GCM",
            Self::KeyOfAnotherDevice => "A device encrypts under its own key: this has to be its id",
            Self::KeyVersion => "A key's first version is 1",
            Self::NonceLength => "A nonce has 24 bytes with XCHACHA20_POLY1305, and 12 with AES_256_GCM",
            Self::SaltLength => "A salt has 16 to 64 bytes",
            Self::Memory => "A key derivation takes 19,456 to 1,048,576 KiB",
            Self::Iterations => "A key derivation makes 2 to 64 passes",
            Self::Parallelism => "A key derivation has 1 to 16 lanes",
            Self::AssociatedDataVersion => "The version of the layout of associated data is 1",
            Self::PayloadTooShort => "A payload has at least a tag, which is 16 bytes",
            Self::PayloadTooLarge { most } => {
                return format!("A payload has at most {most} bytes here").into();
            }
            Self::PayloadNotEncrypted => "This is readable: it has to be encrypted",
        };
        description.into()
    }
}

// === impl Algorithm ===

impl Algorithm {
    /// Every one.
    const ALL: [Self; 2] = [Self::XChaCha20Poly1305, Self::Aes256Gcm];

    /// The name that it is stored under.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::XChaCha20Poly1305 => "xchacha20_poly1305",
            Self::Aes256Gcm => "aes_256_gcm",
        }
    }

    /// The algorithm of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// How long its nonces are, in bytes.
    #[must_use]
    pub fn nonce_bytes(self) -> usize {
        match self {
            Self::XChaCha20Poly1305 => 24,
            Self::Aes256Gcm => 12,
        }
    }
}

// === impl KeyDerivation ===

impl KeyDerivation {
    /// Looks at the memory that it takes.
    ///
    /// # Errors
    ///
    /// When it is too little or too much.
    pub fn check_memory(self) -> Result<(), EnvelopeProblem> {
        require(MEMORY_KIB.contains(&self.memory_kib), EnvelopeProblem::Memory)
    }

    /// Looks at the passes that it makes.
    ///
    /// # Errors
    ///
    /// When they are too few or too many.
    pub fn check_iterations(self) -> Result<(), EnvelopeProblem> {
        require(ITERATIONS.contains(&self.iterations), EnvelopeProblem::Iterations)
    }

    /// Looks at the lanes that it has.
    ///
    /// # Errors
    ///
    /// When they are too few or too many.
    pub fn check_parallelism(self) -> Result<(), EnvelopeProblem> {
        require(
            PARALLELISM.contains(&self.parallelism),
            EnvelopeProblem::Parallelism,
        )
    }
}
