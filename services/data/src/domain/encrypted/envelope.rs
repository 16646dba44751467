//! Crypto envelopes: the parameters with which a device encrypted a payload, as far as the server can check them
//! without a key.

use std::{borrow::Cow, ops::RangeInclusive};

use uuid::Uuid;

use super::plaintext::{TAG_BYTES, is_readable};

/// A payload and its envelope.
#[derive(Clone, PartialEq, Eq)]
pub struct Encrypted {
    /// The ciphertext with its authentication tag, at least 16 bytes.
    pub payload: Vec<u8>,
    /// The parameters of the encryption.
    pub envelope: Envelope,
}

/// The parameters of an encryption. Every field has passed its check.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The algorithm that encrypted the payload.
    pub algorithm: Algorithm,
    /// The key's id: a device's id, or for a share an id that the client generated.
    pub key_id: Uuid,
    /// The key's version, 1 or more.
    pub key_version: i32,
    /// The nonce, of the length that the algorithm requires.
    pub nonce: Vec<u8>,
    /// The salt of the key derivation, 16 to 64 bytes.
    pub salt: Vec<u8>,
    /// The parameters of the derivation of the key from the person's secret.
    pub key_derivation: KeyDerivation,
}

/// An algorithm for authenticated encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03), with nonces of 24 bytes.
    XChaCha20Poly1305,
    /// AES-256-GCM (NIST SP 800-38D), with nonces of 12 bytes.
    Aes256Gcm,
}

/// The parameters of argon2id (RFC 9106).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyDerivation {
    /// The memory in KiB.
    pub memory_kib: i32,
    /// The number of passes.
    pub iterations: i32,
    /// The number of lanes.
    pub parallelism: i32,
}

/// The only version of envelopes.
pub const ENVELOPE_VERSION: i16 = 1;

/// The only version of the layout of the associated data.
pub const ASSOCIATED_DATA_VERSION: i16 = 1;

/// The size of a salt in bytes.
const SALT_BYTES: RangeInclusive<usize> = 16..=64;

/// The memory of a key derivation in KiB. The minimum, like that of the passes, is the OWASP recommendation for
/// argon2id; the maximum is what a small device can still compute.
const MEMORY_KIB: RangeInclusive<i32> = 19_456..=1_048_576;

/// The number of passes of a key derivation.
const ITERATIONS: RangeInclusive<i32> = 2..=64;

/// The number of lanes of a key derivation.
const PARALLELISM: RangeInclusive<i32> = 1..=16;

/// The rule that an envelope or a payload breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvelopeProblem {
    /// The version of the envelope is unknown.
    EnvelopeVersion,
    /// The algorithm is unknown or not allowed.
    Algorithm,
    /// The key is not the calling device's own.
    KeyOfAnotherDevice,
    /// The key version is less than 1.
    KeyVersion,
    /// The nonce does not have the length that the algorithm requires.
    NonceLength,
    /// The salt is too short or too long.
    SaltLength,
    /// The key derivation uses too little or too much memory.
    Memory,
    /// The key derivation makes too few or too many passes.
    Iterations,
    /// The key derivation has too few or too many lanes.
    Parallelism,
    /// The version of the layout of the associated data is unknown.
    AssociatedDataVersion,
    /// The payload is shorter than an authentication tag.
    PayloadTooShort,
    /// The payload is larger than its field allows.
    PayloadTooLarge {
        /// The maximum size in bytes.
        max: usize,
    },
    /// The payload is readable text or ASCII, so it is not encrypted.
    PayloadNotEncrypted,
}

/// Checks a payload of at most `max` bytes.
///
/// # Errors
///
/// When the payload cannot be a ciphertext, or is too large.
pub fn check_payload(payload: &[u8], max: usize) -> Result<(), EnvelopeProblem> {
    if payload.len() < TAG_BYTES {
        Err(EnvelopeProblem::PayloadTooShort)
    } else if payload.len() > max {
        Err(EnvelopeProblem::PayloadTooLarge { max })
    } else if is_readable(payload) {
        Err(EnvelopeProblem::PayloadNotEncrypted)
    } else {
        Ok(())
    }
}

/// Checks the version of an envelope.
///
/// # Errors
///
/// When the version is not [`ENVELOPE_VERSION`].
pub fn check_envelope_version(version: i32) -> Result<(), EnvelopeProblem> {
    require(
        version == i32::from(ENVELOPE_VERSION),
        EnvelopeProblem::EnvelopeVersion,
    )
}

/// Checks the version of the layout of the associated data.
///
/// # Errors
///
/// When the version is not [`ASSOCIATED_DATA_VERSION`].
pub fn check_associated_data_version(version: i32) -> Result<(), EnvelopeProblem> {
    require(
        version == i32::from(ASSOCIATED_DATA_VERSION),
        EnvelopeProblem::AssociatedDataVersion,
    )
}

/// Checks the version of a key. The database compares it with the current version of the device's key.
///
/// # Errors
///
/// When the version is less than 1.
pub fn check_key_version(version: i32) -> Result<(), EnvelopeProblem> {
    require(version >= 1, EnvelopeProblem::KeyVersion)
}

/// Checks the length of a nonce. When the algorithm is unknown, the length must be that of any algorithm.
///
/// # Errors
///
/// When the nonce has another length.
pub fn check_nonce(algorithm: Option<Algorithm>, nonce: &[u8]) -> Result<(), EnvelopeProblem> {
    let fits = |algorithm: &Algorithm| algorithm.nonce_bytes() == nonce.len();
    let valid = algorithm
        .as_ref()
        .map_or_else(|| Algorithm::ALL.iter().any(fits), fits);
    require(valid, EnvelopeProblem::NonceLength)
}

/// Checks the length of a salt.
///
/// # Errors
///
/// When the salt has fewer than 16 or more than 64 bytes.
pub fn check_salt(salt: &[u8]) -> Result<(), EnvelopeProblem> {
    require(SALT_BYTES.contains(&salt.len()), EnvelopeProblem::SaltLength)
}

fn require(valid: bool, problem: EnvelopeProblem) -> Result<(), EnvelopeProblem> {
    match valid {
        true => Ok(()),
        false => Err(problem),
    }
}

// === impl EnvelopeProblem ===

impl EnvelopeProblem {
    /// Returns the violation's stable name.
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

    /// Returns the violation's description.
    #[must_use]
    pub fn description(self) -> Cow<'static, str> {
        let description = match self {
            Self::EnvelopeVersion => "envelope_version must be 1",
            Self::Algorithm => "algorithm must be XCHACHA20_POLY1305 or AES_256_GCM",
            Self::KeyOfAnotherDevice => "key_id must be the device's id: a device encrypts under its own key",
            Self::KeyVersion => "key_version must be 1 or more",
            Self::NonceLength => {
                "nonce must have 24 bytes for XCHACHA20_POLY1305 and 12 bytes for AES_256_GCM"
            }
            Self::SaltLength => "salt must have 16 to 64 bytes",
            Self::Memory => "memory_kib must be 19,456 to 1,048,576",
            Self::Iterations => "iterations must be 2 to 64",
            Self::Parallelism => "parallelism must be 1 to 16",
            Self::AssociatedDataVersion => "associated_data_version must be 1",
            Self::PayloadTooShort => "the payload must have at least 16 bytes, the size of the tag",
            Self::PayloadTooLarge { max } => {
                return format!("the payload must have at most {max} bytes").into();
            }
            Self::PayloadNotEncrypted => "the payload must be encrypted: it is readable",
        };
        description.into()
    }
}

// === impl Algorithm ===

impl Algorithm {
    /// All algorithms, in the order of their declaration.
    const ALL: [Self; 2] = [Self::XChaCha20Poly1305, Self::Aes256Gcm];

    /// Returns the name under which the algorithm is stored.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::XChaCha20Poly1305 => "xchacha20_poly1305",
            Self::Aes256Gcm => "aes_256_gcm",
        }
    }

    /// Returns the algorithm with this stored name; `None` when there is none.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// Returns the length of the algorithm's nonces in bytes.
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
    /// Checks the memory.
    ///
    /// # Errors
    ///
    /// When the memory is less than 19,456 or more than 1,048,576 KiB.
    pub fn check_memory(self) -> Result<(), EnvelopeProblem> {
        require(MEMORY_KIB.contains(&self.memory_kib), EnvelopeProblem::Memory)
    }

    /// Checks the number of passes.
    ///
    /// # Errors
    ///
    /// When the number is less than 2 or more than 64.
    pub fn check_iterations(self) -> Result<(), EnvelopeProblem> {
        require(ITERATIONS.contains(&self.iterations), EnvelopeProblem::Iterations)
    }

    /// Checks the number of lanes.
    ///
    /// # Errors
    ///
    /// When the number is less than 1 or more than 16.
    pub fn check_parallelism(self) -> Result<(), EnvelopeProblem> {
        require(
            PARALLELISM.contains(&self.parallelism),
            EnvelopeProblem::Parallelism,
        )
    }
}
